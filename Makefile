# What a person needs: env, demo, up, down, test, lint, clean. 'make help' explains.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
PYTHON := $(VENV)/bin/python
STAMP := $(VENV)/.installed
RUN := PYTHONPATH=include exec $(PYTHON)
WORKERS ?= 2
ROWS ?= 1000000
SEEDS ?= 1
FAULTS ?= 500
BAD ?= 0

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

.PHONY: env
env: $(STAMP) ## build the Python environment in .venv; does nothing when the lock has not changed

$(STAMP): requirements.txt
	@bash include/demo/stack/environment.sh $(VENV) requirements.txt
	@touch $@

.PHONY: demo
demo: env ## run the whole pipeline on the sample company, print what it found, leave nothing running
	@$(RUN) -m demo.stack demo

.PHONY: up
up: env ## start the same stack and leave it up; prints addresses and logins
	@$(RUN) -m demo.stack up

.PHONY: down
down: env ## stop what 'make up' started; its data stay
	@$(RUN) -m demo.stack down

.PHONY: test
test: env lint ## linters and all tests
	@$(RUN) -m pytest -n $(WORKERS) --dist loadfile

.PHONY: lint
lint: env ## linters and type checker; they change nothing
	@$(PYTHON) -m ruff check .
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@if [ -d dbt_project ]; then $(PYTHON) -m sqlfluff lint --processes $(WORKERS) dbt_project; fi
	@$(PYTHON) -m yamllint --strict .

.PHONY: bench-load
bench-load: env ## one big CSV load against psql \copy of the same file; ROWS=1000000 BAD=0 bad rows
	@$(RUN) tests/performance/bench_load.py --rows $(ROWS) --bad $(BAD)

.PHONY: chaos
chaos: env ## faults of 26 kinds in a random order, checked after each; SEEDS=1 FAULTS=500 SEED= KINDS= WRITE=page
	@PYTHONPATH=include:tests/faults exec $(PYTHON) -m chaos --seeds $(SEEDS) --faults $(FAULTS) --jobs $(WORKERS) \
	  $(if $(SEED),--seed $(SEED)) $(if $(KINDS),--kinds $(KINDS)) $(if $(WRITE),--write $(WRITE))

.PHONY: format
format: env ## let ruff format the Python code
	@$(PYTHON) -m ruff check --fix-only .
	@$(PYTHON) -m ruff format .

.PHONY: lock
lock: env ## write requirements.txt anew from requirements.in
	@$(VENV)/bin/uv pip compile requirements.in --quiet --universal --python-version 3.11 \
	  --no-emit-index-url --no-annotate --no-header --output-file requirements.txt

.PHONY: clean
clean: ## stop what runs and delete the environment, all state and caches
	@if [ -x $(PYTHON) ]; then PYTHONPATH=include $(PYTHON) -m demo.stack clean; fi
	@rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache .hypothesis dbt_project/target dbt_project/logs
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
