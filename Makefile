# Equipoise. `make run` starts it, `make test` tests it; nothing else is needed first.
# Versions come from the hashed locks in locks/, so that everybody runs the set that was tested.

PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
HOST ?= 127.0.0.1
PORT ?= 8080
WORKERS ?= 3
SLOW_WORKERS ?= 2
BIN := .venv/bin
UV_VERSION := 0.13.8
SOURCES := allocation stats experiments api

.DEFAULT_GOAL := help
.PHONY: help install run test test-slow lint bench docs clean lock system-packages slow-system-packages

help:
	@echo "make run        set up, fill a demo shop and start the service on http://$(HOST):$(PORT)"
	@echo "make test       set up and run the tests (under 10 minutes)"
	@echo "make test-slow  long simulations, fault tests, Spark and ClickHouse (under 30 minutes)"
	@echo "make lint       format, lint and type checks"
	@echo "make install    only set up: .venv with .venv/bin/equipoise"
	@echo "make bench      benchmarks beside peers, a table out"
	@echo "make docs       renew docs/cli.md and run every example of the documentation"
	@echo "make clean      remove everything that the other targets made, the demo's data too"

# ---- set-up ---------------------------------------------------------------------------------------------------------

# $(call sync,LOCK): install a hashed lock; uv when it can be had, else pip from the same lock.
define sync
	@if [ -x $(BIN)/uv ]; then $(BIN)/uv pip install --python $(BIN)/python --quiet --require-hashes -r $(1); \
	else $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(1); fi
endef

.venv/.base: locks/runtime.txt locks/build.txt setup.cfg
	@[ -n "$(PYTHON)" ] || { echo "Equipoise needs Python 3.11 or newer: install it, or name it with 'make PYTHON=/path/to/python3.12 …'"; exit 2; }
	@echo "Setting up .venv with $(PYTHON) …"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv .venv || { echo "Could not make a virtual environment. On Debian: apt-get install python3-venv"; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION) || echo "uv is not to be had; going on with pip (slower)"
	$(call sync,locks/runtime.txt)
	$(call sync,locks/build.txt)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

# Front-end files come from npm at install: Node of the machine, else the one that PyPI carries.
.venv/.vendor: .venv/.base frontend/package-lock.json frontend/vendor.mjs locks/node.txt
	@command -v npm >/dev/null 2>&1 || { echo "No npm here: taking Node from PyPI"; }
	$(if $(shell command -v npm),,$(call sync,locks/node.txt))
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix frontend ci --loglevel=error --no-audit --no-fund
	@PATH="$(CURDIR)/$(BIN):$$PATH" node frontend/vendor.mjs
	@touch $@

.venv/.dev: .venv/.base locks/dev.txt
	$(call sync,locks/dev.txt)
	@touch $@

# Unmodified client libraries that the system tests drive: Python's in an environment of their own, Node's from npm.
.venv-clients/.done: locks/clients.txt .venv/.base
	@[ -x .venv-clients/bin/python ] || $(BIN)/python -m venv .venv-clients
	@if [ -x $(BIN)/uv ]; then $(BIN)/uv pip install --python .venv-clients/bin/python --quiet --require-hashes -r $<; \
	else .venv-clients/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<; fi
	@touch $@

tests/system/clients/node_modules/.done: tests/system/clients/package-lock.json .venv/.vendor
	@PATH="$(CURDIR)/$(BIN):$$PATH" npm --prefix tests/system/clients ci --loglevel=error --no-audit --no-fund
	@touch $@

CLIENTS := .venv-clients/.done tests/system/clients/node_modules/.done

.venv/.slow: .venv/.dev locks/slow.txt
	$(call sync,locks/slow.txt)
	@touch $@

install: .venv/.vendor
	@echo "Installed: $(BIN)/equipoise"

run: install
	@$(BIN)/equipoise migrate
	@$(BIN)/equipoise demo
	@exec $(BIN)/equipoise serve --host $(HOST) --port $(PORT)

# ---- checks ---------------------------------------------------------------------------------------------------------

# What the system tests need beside Python packages. Installed as root on Debian, otherwise named in one line.
system-packages:
	@tools/system-packages systemd-analyze:systemd chromium:chromium curl:curl strace:strace faketime:faketime fc-list:fontconfig,fonts-noto-cjk

slow-system-packages: system-packages
	@tools/system-packages java:default-jre-headless

test: .venv/.vendor .venv/.dev $(CLIENTS) system-packages
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m "not slow" --doctest-modules tests $(SOURCES)

test-slow: .venv/.vendor .venv/.slow $(CLIENTS) slow-system-packages
	$(BIN)/python -m pytest -n $(SLOW_WORKERS) --dist loadfile --no-loadscope-reorder -m slow tests

lint: .venv/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: .venv/.vendor .venv-bench/.done bench/unleash/node_modules/.done
	.venv-bench/bin/python -m bench

# A peer that is asked the same question, with the Node that it needs.
bench/unleash/node_modules/.done: bench/unleash/package-lock.json locks/node.txt .venv-bench/.done
	@.venv-bench/bin/uv pip install --python .venv-bench/bin/python --quiet --require-hashes -r locks/node.txt
	@PATH="$(CURDIR)/.venv-bench/bin:$$PATH" npm --prefix bench/unleash ci --loglevel=error --no-audit --no-fund
	@touch $@

.venv-bench/.done: locks/bench.txt locks/build.txt setup.cfg
	@$(PYTHON) -m venv .venv-bench && .venv-bench/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	@.venv-bench/bin/uv pip install --python .venv-bench/bin/python --quiet --require-hashes -r locks/bench.txt
	@.venv-bench/bin/uv pip install --python .venv-bench/bin/python --quiet --require-hashes -r locks/build.txt
	@.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

docs: .venv/.vendor .venv/.dev
	$(BIN)/python tools/cli_reference.py
	$(BIN)/python -m pytest -q --doctest-modules tests/test_docs.py $(SOURCES)

# Renew the locks on purpose, never by accident: `make lock`, then read the diff and run all tests.
lock:
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes setup.cfg -o locks/runtime.txt
	for extra in dev slow bench; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes setup.cfg --extra dev \
		--extra $$extra -c locks/runtime.txt -o locks/$$extra.txt || exit 1; done
	for name in build node clients; do \
		$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes locks/$$name.in -o locks/$$name.txt || exit 1; done

clean:
	rm -rf .venv .venv-bench .venv-clients frontend/node_modules tests/system/clients/node_modules bench/unleash/node_modules api/web/static/vendor equipoise-data bench/out \
		.mypy_cache .ruff_cache .pytest_cache .hypothesis build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
