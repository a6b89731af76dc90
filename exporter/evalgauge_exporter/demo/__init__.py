"""The simulated evaluation of ``evalgauge demo``: its tasks and steps, its screenshots, and how it is played."""
