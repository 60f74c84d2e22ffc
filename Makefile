# Two commands do everything on a machine with Python 3.11+, make and git: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNS := $(VENV)/.runs
READY := $(VENV)/.ready
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# Half as many again as there are cores: many tests wait for a simulator's clock.
WORKERS := $(shell $(PYTHON) -c 'import os; print(-(-(os.cpu_count() or 1) * 3 // 2))')

.PHONY: help env demo test check check-static fast docs lock lock-deploy clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

# What the program itself and its web app need; the demo needs no more.
$(RUNS): requirements-run.lock requirements-build.lock pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "clipledger needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements-run.lock -r requirements-build.lock
	$(PIP) --no-deps --no-build-isolation --editable .
	@touch $(RUNS)

# All extras, the test servers and the tools. uvloop lies aside, where one test finds it: all others are to meet Python's own loop.
$(READY): $(RUNS) requirements.lock requirements-fast.lock
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) --require-hashes --upgrade --target $(VENV)/fast -r requirements-fast.lock
	@touch $(READY)

env: $(READY)  ## make the environment

demo: $(RUNS)  ## play a whole archive against the simulator, audit it; on a terminal show it in the browser until Ctrl-C
	@# A job of its own: Ctrl-C ends the server, which has done its work, and not make as well.
	@if test -t 1; then set -m; serve=--serve; fi; $(BIN)/clipledger demo clipledger-demo $$serve; exit $$?

test: $(READY) check-static  ## the whole suite
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal

check: $(READY) check-static fast  ## format, lint, types, import contracts, fast tests

check-static: $(READY)
	$(BIN)/ruff format --check --quiet src tests benchmarks
	$(BIN)/ruff check --quiet src tests benchmarks
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo > $(VENV)/imports.log || { cat $(VENV)/imports.log; exit 1; }

fast: $(READY)
	$(BIN)/python -m pytest -q -n auto -m "not slow"

# How fast it is, beside its peers; figures go to benchmarks/figures.json, which docs/explanation/performance.md shows.
FIGURES := --json benchmarks/figures.json
.PHONY: bench-small bench-large bench-queue bench-idle bench-start bench-store

bench-small: $(READY)  ## race with files of 64 KiB: plain, over TLS, on the disk
	missed=0; for race in small tls-small durable; do $(BIN)/python benchmarks/race.py $$race $(FIGURES) || missed=1; done; exit $$missed

bench-large: $(READY)  ## race with files of 10 MiB: plain, over TLS
	missed=0; for race in large tls-large; do $(BIN)/python benchmarks/race.py $$race $(FIGURES) || missed=1; done; exit $$missed

bench-queue: $(READY)  ## ask whether a long queue is as quick as a short one
	$(BIN)/python benchmarks/queue_growth.py $(FIGURES)
	$(BIN)/python benchmarks/queue_100k.py $(FIGURES)

bench-idle: $(READY)  ## measure what waiting costs, and working at the cap of the rate
	missed=0; for what in waiting capped; do $(BIN)/python benchmarks/idle.py $$what $(FIGURES) || missed=1; done; exit $$missed

bench-start: $(READY)  ## measure how soon the command line answers
	$(BIN)/python benchmarks/startup.py $(FIGURES)

bench-store: $(READY)  ## fill a bucket, beside `aws s3 cp`
	$(BIN)/python benchmarks/store.py $(FIGURES)

docs: $(READY)  ## write the generated reference pages anew
	$(BIN)/python docs/generate.py

# What the container image holds beside the default install. Extras that do not exist yet are left out with a warning.
DEPLOY_EXTRAS := postgres s3 cloud metrics web
COMPILE = $(BIN)/python -m piptools compile --quiet --strip-extras --allow-unsafe --generate-hashes \
    --no-emit-index-url --no-emit-find-links --no-emit-trusted-host

lock:  ## pin every dependency anew, with hashes
	$(COMPILE) --extra dev --output-file requirements.lock pyproject.toml
	$(COMPILE) --output-file requirements-fast.lock requirements-fast.in
	$(MAKE) lock-deploy

# No rule makes a lock file by itself: a clone or a pull may leave pyproject.toml the newer one, and nothing is to be pinned by that.
lock-deploy:  ## pin what runs and the container image, at the same versions
	$(COMPILE) --constraint requirements.lock --extra=web --output-file requirements-run.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock $(addprefix --extra=,$(DEPLOY_EXTRAS)) --output-file requirements-deploy.lock pyproject.toml
	$(COMPILE) --constraint requirements.lock --build-deps-for wheel --build-deps-for editable --only-build-deps --output-file requirements-build.lock pyproject.toml

clean:  ## remove what make made
	rm -rf $(VENV) clipledger-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
