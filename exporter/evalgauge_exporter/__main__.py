"""``python -m evalgauge_exporter`` is the ``evalgauge`` command."""

from evalgauge_exporter.cli.main import main

main()
