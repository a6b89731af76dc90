"""``python -m evalgauge.integrations.openadapt``: the command ``openadapt-evals``, with its runs recorded."""

from evalgauge.integrations.openadapt import main

main()
