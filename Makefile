# The commands of this repository. Each works on a fresh clone with only Python >= 3.11 and make there.
PYTHON ?= python3
VENV := .venv
RESULTS ?= results
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help venv demo test check bench docs example up down

help: ## say what there is
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

venv: $(READY) ## build .venv with every extra and the test tools

$(READY): pyproject.toml
	@echo "building $(VENV) (once, about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name it with PYTHON=") if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $(READY)

demo: $(READY) ## a simulated evaluation and the live page beside it
	@$(BIN)/evalgauge demo $(ARGS)

test: $(READY) ## every test; what a test needs is fetched into .cache where that goes without root
	@scripts/fetch-prometheus.sh
	@scripts/fetch-victoria-metrics.sh
	@PYTHON=$(BIN)/python scripts/fetch-openadapt.sh
	@$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## lint and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY) ## the ratios, each measured beside its floor or its peer
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY) ## write the generated pages and dashboards again
	@$(BIN)/python -c 'from evalgauge import metrics; print(metrics.render_markdown(), end="")' > docs/metrics.md
	@$(BIN)/python -c 'from evalgauge_dashboards import share; print(share.markdown(), end="")' > docs/panels.md
	@$(BIN)/evalgauge dashboards build --out dashboards/generated

example: $(READY) ## a real benchmark, MiniWoB++ in Chromium, under the tracker
	@$(BIN)/python examples/miniwob.py --results $(RESULTS) $(ARGS)
	@$(BIN)/evalgauge runs $(RESULTS)

up: ## the compose stack: exporter, Prometheus, Grafana
	@[ -n "$$RESULTS_DIR" ] || mkdir -p results
	docker compose up --detach --build --wait

down: ## stop the compose stack; the volumes stay
	docker compose down
