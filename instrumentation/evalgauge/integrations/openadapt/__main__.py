"""``python -m evalgauge.integrations.openadapt`` is openadapt-evals' command with its runs recorded."""

from evalgauge.integrations.openadapt import main

main()
