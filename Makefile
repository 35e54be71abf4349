# Two commands matter: `make demo` (see it run) and `make test` (everything that CI does).
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt
UI := cloud/web/static/index.html
# Torch and OpenMP with several threads each collapse on two shared cores.
export OMP_NUM_THREADS := 1

.PHONY: help setup demo check explore test lint types imports ui bench evaluate mutants wheel clean system soak-safety soak-sync

help:
	@echo "make demo          a whole mining site on this machine (no torch; TRAIN=full adds it)"
	@echo "make test          install what is needed, lint, type-check, run every test, build the wheel"
	@echo "make check         the short inner loop (lint, types, imports, fast tests)"
	@echo "make explore       the fast tests with new random examples: a search, where the other runs repeat"
	@echo "make setup         .venv with everything, system packages, the dashboard's build"
	@echo "make bench         the benchmarks, one JSON line each"
	@echo "make mutants       mutation testing of the guardian's core; writes docs/mutants.json and .md"
	@echo "make soak-safety   the long adversarial run (STEPS, SEED, REPORT, JOBS)"
	@echo "make soak-sync     an hour of site time with everything failing, compared row by row (DURATION, SEED, REPORT)"
	@echo "make evaluate      detection quality of the models on the simulated plant"

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.light: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing the demo's packages (no torch) into $(VENV)"
	$(PIP) --editable '.[edge,cloud,train,sim]'
	@touch $@

$(VENV)/.full: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "== installing everything, torch included (200 MB as CPU build, gigabytes otherwise: see README), into $(VENV)"
	$(PIP) --editable '.[all,dev]'
	@touch $(VENV)/.light $@

system:
	@bash packaging/dev/system.sh

$(UI): $(shell find cloud/ui -type f -not -path '*/node_modules/*' 2>/dev/null) | $(VENV)/bin/python
	bash packaging/dev/ui.sh $(BIN)

ui: $(UI)

setup: system $(VENV)/.full $(UI)
	@if [ -d .git ]; then $(BIN)/pre-commit install >/dev/null 2>&1 || true; fi

ifeq ($(TRAIN),full)
DEMO_NEEDS := $(VENV)/.full
else
DEMO_NEEDS := $(VENV)/.light
endif

demo: $(DEMO_NEEDS) $(UI)
	$(BIN)/minewarden demo $(ARGS)

lint:
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types:
	$(BIN)/mypy

imports:
	$(BIN)/lint-imports

check: $(VENV)/.full
	$(MAKE) --no-print-directory lint types imports
	$(BIN)/pytest -q -n 2 -m "not slow"

explore: $(VENV)/.full
	$(BIN)/pytest -q -n 2 -m "not slow" --hypothesis-profile=explore

wheel: $(VENV)/.full $(UI)
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

test: setup
	$(MAKE) --no-print-directory lint types imports
	bash packaging/dev/ui.sh $(BIN) check
	$(MAKE) --no-print-directory wheel
	$(BIN)/pytest -q -n 2 -m "not slow"
	$(BIN)/pytest -q -n 3 --dist loadfile -m "slow and not alone" --durations=15
	$(BIN)/pytest -q -m "slow and alone" --durations=15

bench: setup
	$(BIN)/python -m pytest tests/benchmarks -q -s --benchmarks

evaluate: $(VENV)/.full
	$(BIN)/python -P -m cloud.training.evaluate

mutants: $(VENV)/.full
	PYTHONPATH=tests:. $(BIN)/python -m safety.mutation $(ARGS)

# An adversarial agent against core, arbiter and plant: STEPS control steps of 0.25 s; EPISODE replays one of them.
STEPS ?= 1000000
SEED ?= 7
REPORT ?= soak-safety.json
JOBS ?= 1
soak-safety: | $(VENV)/.full
	PYTHONPATH=.:tests $(BIN)/python -P -m support.closed_loop_run --steps '$(STEPS)' --seed '$(SEED)' \
		--report '$(REPORT)' --jobs '$(JOBS)' $(if $(EPISODE),--episode '$(EPISODE)')

# Real broker, PostgreSQL, cloud and agent while all of them fail: DURATION seconds of site time, six times real time.
DURATION ?= 3600
soak-sync: REPORT = soak-sync.json
soak-sync: | $(VENV)/.full
	PYTHONPATH=.:tests $(BIN)/python -P -m support.chaos_run --duration '$(DURATION)' --seed '$(SEED)' \
		--report '$(REPORT)'

clean:
	rm -rf $(VENV) dist cloud/web/static cloud/ui/node_modules .mypy_cache .ruff_cache .pytest_cache
