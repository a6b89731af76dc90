"""What all tests share."""

from hypothesis import settings

# a shared machine is slow at times: an example is judged by what it finds, not by how long it takes
settings.register_profile("evalgauge", deadline=None, max_examples=60)
settings.load_profile("evalgauge")
