"""``python -m evalgauge_dashboards``: build the dashboards without the exporter being installed."""

import sys

from evalgauge_dashboards.cli import build_command

try:
    build_command(prog_name="python -m evalgauge_dashboards")
except ModuleNotFoundError as error:
    sys.exit(f"evalgauge: this needs the package {error.name!r}; install it with: pip install 'evalgauge[dashboards]'")
