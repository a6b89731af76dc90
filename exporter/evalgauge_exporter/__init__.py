"""The exporter and the ``evalgauge`` command: serves benchmark runs as metrics, an HTTP API, a live page and replays.

Sources turn what a benchmark writes into events, ``state`` folds the events, and views read the state. The packages,
from top to bottom; each imports only from those below it:

- ``cli``: the ``evalgauge`` command
- ``web``: the HTTP server, the API, the event stream and the live page
- ``exporter``: the composition of all parts into one process
- ``ingest``, ``views``, ``export``, ``replay``: what follows runs, and what is made from their state
- ``sources``, ``analysis``, ``demo``: readers of run formats, statistics and estimates, the demo's simulated runs
- ``state``, ``config``: the fold of events, the configuration
- ``errors``: the exceptions
"""
