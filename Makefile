# The commands of this repository. Each works on a fresh clone with only Python >= 3.11 and make there.
PYTHON ?= python3
VENV := .venv
RESULTS ?= results
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help venv demo test check bench docs example up down

help: ## list the commands
	@grep -E '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 20

venv: $(READY) ## build .venv with every extra and the test tools

$(READY): pyproject.toml
	@echo "building $(VENV) (once, about a minute)"
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; name it with PYTHON=") if sys.version_info < (3, 11) else 0'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1'
	@$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $(READY)

demo: $(READY) ## run a simulated evaluation and its live page
	@$(BIN)/evalgauge demo $(ARGS)

test: $(READY) ## run every test; programs that tests need are fetched into .cache, without root
	@scripts/fetch-prometheus.sh
	@scripts/fetch-victoria-metrics.sh
	@PYTHON=$(BIN)/python scripts/fetch-openadapt.sh
	@$(BIN)/python -m pytest $(ARGS)

check: $(READY) ## run the linter and the type checker
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(READY) ## measure the speeds, each as a ratio to its lower bound or a peer
	@$(BIN)/python -m benchmarks $(ARGS)

docs: $(READY) ## write the generated pages and dashboards
	@$(BIN)/python -c 'from evalgauge import metrics; print(metrics.render_markdown(), end="")' > docs/metrics.md
	@$(BIN)/python -c 'from evalgauge_dashboards import panel_links; print(panel_links.render_markdown(), end="")' > docs/panels.md
	@$(BIN)/evalgauge dashboards build --out dashboards/generated

example: $(READY) ## run a real benchmark, MiniWoB++ in Chromium, with the tracker
	@$(BIN)/python examples/miniwob.py --results $(RESULTS) $(ARGS)
	@$(BIN)/evalgauge runs $(RESULTS)

up: ## start the compose stack: exporter, Prometheus, Grafana
	@[ -n "$$RESULTS_DIR" ] || mkdir -p results
	docker compose up --detach --build --wait

down: ## stop the compose stack; the volumes are kept
	docker compose down
