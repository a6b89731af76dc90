# The commands of this repository. Each works on a fresh clone with only Python >= 3.11 and make there.
PYTHON ?= python3
VENV := .venv
RESULTS ?= results
JOBS ?= 3
CHECK_PYTHON = $(PYTHON) -c 'import sys; sys.version_info < (3, 11) and sys.exit("Python 3.11 or newer is needed; name it with PYTHON=")'
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEMO := $(VENV)/.demo

.PHONY: help venv demo test fuzz kills soak check bench lock docs example up down pictures

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

venv: $(READY) ## build .venv with every extra and the test tools

$(READY): pyproject.toml
	@echo "building $(VENV) (once, about a minute)"
	@$(CHECK_PYTHON)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $(READY) $(DEMO)

$(DEMO): pyproject.toml
	@echo "installing what the demo needs into $(VENV) (once, about half a minute)"
	@$(CHECK_PYTHON)
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --disable-pip-version-check --editable '.[exporter]' | sed -nE -u \
	  's/^(Collecting [^ ;<>=~!\[]+).*|^(Installing collected).*/  \1\2/p'
	@$(BIN)/evalgauge --version
	@touch $(DEMO)

demo: $(DEMO) ## run a simulated evaluation and its live page; the runs stay in results/
	@$(BIN)/evalgauge demo --results $(RESULTS) $(ARGS)

test: $(READY) ## run every test; programs that tests need are fetched into .cache, without root
	@scripts/fetch-prometheus.sh
	@scripts/fetch-victoria-metrics.sh
	@scripts/fetch-azurite.sh
	@PYTHON=$(BIN)/python scripts/fetch-openadapt.sh
	@$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(ARGS)

fuzz: $(READY) ## damage runs of every format, the log and addresses: new examples, ten times as many as make test
	@EVALGAUGE_FUZZ=$${TIMES:-10} $(BIN)/python -m pytest -n $(JOBS) tests/faults/test_fuzz*.py \
	  tests/exporter/sources/test_damaged.py $(ARGS)

kills: $(READY) ## kill 200 writers, 50 exporters and 20 receivers of logs; nothing acknowledged may be lost
	@EVALGAUGE_KILLS=$${KILLS:-200} $(BIN)/python -m pytest -s tests/faults/test_kills.py $(ARGS)

soak: $(READY) ## run an exporter for ten minutes while runs and clients come and go; what it holds at start and end
	@$(BIN)/python -m benchmarks.soak --minutes $${MINUTES:-10} $(ARGS)

check: $(READY) ## run the linter, the type checker and the build of the documentation site
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir .cache/site

bench: $(READY) ## measure the speeds, each as a ratio to its lower bound or a peer
	@$(BIN)/python -m benchmarks $(ARGS)

LOCK := uv pip compile --python-version 3.13 --universal --generate-hashes --no-header --no-annotate --no-emit-index-url -q
lock: $(READY) ## write the versions and hashes of what the image installs
	@$(BIN)/$(LOCK) pyproject.toml --upgrade --extra exporter --extra azure --extra aws -o exporter/requirements.lock
	@$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"], sep="\n")' \
	  | $(BIN)/$(LOCK) - --upgrade -o exporter/build.lock

docs: $(READY) ## write the generated pages and dashboards
	@$(BIN)/python -c 'from evalgauge import metrics; print(metrics.render_markdown(), end="")' > docs/metrics.md
	@$(BIN)/python -c 'from evalgauge_dashboards import panel_links; print(panel_links.render_markdown(), end="")' > docs/panels.md
	@$(BIN)/evalgauge dashboards build --out dashboards/generated

pictures: $(READY) ## draw the pictures of README and docs from seeded runs (dashboards: by DASHBOARD_RENDERER)
	@$(BIN)/python scripts/pictures.py

example: $(READY) ## run a real benchmark, MiniWoB++ in Chromium, with the tracker
	@$(BIN)/python examples/miniwob.py --results $(RESULTS) $(ARGS)
	@$(BIN)/evalgauge runs $(RESULTS)

up: ## start the compose stack: exporter, Prometheus, Grafana
	@[ -n "$$RESULTS_DIR" ] || mkdir -p results
	docker compose up --detach --build --wait
	@echo "The live page: http://localhost:$${EVALGAUGE_PORT:-9909}/"
	@echo "Grafana: http://localhost:$${GRAFANA_PORT:-3000}/  user: admin  password: $$(docker compose exec grafana cat /var/lib/grafana/admin-password)"

down: ## stop the compose stack; the volumes are kept
	docker compose down
