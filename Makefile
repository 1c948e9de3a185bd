# `make help` lists the targets. Everything happens inside .venv, made on first use with nothing
# but Python 3.11 or newer, make and git.

.DEFAULT_GOAL := help
SHELL := /bin/sh

BIN := .venv/bin
STAMP := .venv/.installed
# What the page takes from npm.
LIBRARY := shared/chunkferry/tus/page/vendor/tus.min.js
PYTEST_ARGS ?=
BENCH_ARGS ?=
SEED ?=
MINUTES ?=
CHAOS_ARGS ?=
# The first Python that is new enough and can make an environment; override with PYTHON=...
PYTHON ?= $(shell for name in python3.13 python3.12 python3.11 python3 python; do \
	if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' \
	>/dev/null 2>&1; then echo $$name; break; fi; done)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z.]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.venv: $(STAMP) ## make or refresh the environment

# A stamp, not the folder itself: an installation that failed half-way must be done again.
$(STAMP): requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed, with its venv module" \
		"(on Debian: apt install python3-venv); make PYTHON=... names one." >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

.PHONY: vendor
vendor: $(LIBRARY) ## fetch what the page at / takes from npm

# Whatever needs no browser works without it, so being offline stops nothing here: the page then
# says itself what is missing, and CI looks for the file.
$(LIBRARY): npm/package-lock.json npm/vendor.py | $(STAMP)
	@$(BIN)/python npm/vendor.py || echo "vendor: going on; 'make vendor' tries again" >&2

.PHONY: run
run: $(STAMP) $(LIBRARY) ## store a real file, show the proof, then serve until Ctrl-C
	@$(BIN)/chunkferry up --demo --exit-with-parent

.PHONY: test
test: $(STAMP) $(LIBRARY) ## all tests; PYTEST_ARGS="-k name" picks some
	@$(BIN)/python -m pytest $(PYTEST_ARGS)

.PHONY: unit contract integration model acceptance
unit: ## tests without any I/O
contract: ## every store and ledger against the same suite
integration: ## with real Redis and Celery processes
model: ## every course of the protocol within small bounds
acceptance: ## as a person sees it: command line, kills, whole files
unit contract integration model acceptance: $(STAMP) $(LIBRARY)
	@$(BIN)/python -m pytest tests/$@ $(PYTEST_ARGS)

.PHONY: chaos
chaos: $(STAMP) ## everything breaks for two minutes; MINUTES=30 SEED=7 for more and other faults
	@$(BIN)/python -m tests.chaos $(if $(SEED),--seed $(SEED)) $(if $(MINUTES),--minutes $(MINUTES)) \
		$(CHAOS_ARGS)

.PHONY: lint
lint: $(STAMP) ## style, import rules, formatting
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/lint-imports

.PHONY: types
types: $(STAMP) ## mypy, strict
	@$(BIN)/mypy

.PHONY: audit
audit: $(STAMP) ## known vulnerabilities of the locked packages
	@$(BIN)/python .ci/audit.py

.PHONY: bench
bench: $(STAMP) ## throughput beside plain boto3; BENCH_ARGS="--rounds 1" and more
	@$(BIN)/python -m bench.throughput $(BENCH_ARGS)

.PHONY: bench-http
bench-http: $(STAMP) ## the front door beside the Node tus server; BENCH_ARGS as well
	@$(BIN)/python -m bench.frontdoor $(BENCH_ARGS)

.PHONY: lock
lock: $(STAMP) ## refresh requirements.lock; UV_ARGS=--upgrade takes newer versions
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --all-extras --group dev $(UV_ARGS) \
		pyproject.toml -o requirements.lock

.PHONY: clean
clean: ## remove what these targets made, except ./data
	rm -rf $(dir $(LIBRARY)) .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find shared worker tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
