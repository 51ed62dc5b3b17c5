# Python 3.11+ and make are all that is assumed; everything else goes into .venv, at the versions of requirements.lock.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help venv demo kafka test test-rest test-all soak check fmt docs bench clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

# bash sets a variable SECONDS of its own, and could pass it on: only `make demo SECONDS=10` counts.
DEMO_SECONDS := 30
ifeq ($(origin SECONDS),command line)
DEMO_SECONDS := $(SECONDS)
endif

# Two workers; a file's tests stay together, so that a file may share a server. PYTEST_ARGS adds to it, as in
# `make test PYTEST_ARGS="-k clock"`.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile $(PYTEST_ARGS)

help: ## show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(STAMP) ## create .venv and install the pinned dependencies (once, and again when the pins change)

$(STAMP): requirements.lock pyproject.toml
	@set -e; \
	if [ ! -x $(BIN)/python ]; then \
		found=; \
		for candidate in $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11; do \
			if "$$candidate" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
				found=$$candidate; break; \
			fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "Anlass needs Python 3.11 or newer with its venv module, and found none." >&2; \
			echo "Install it (Debian and Ubuntu: apt install python3 python3-venv; macOS: brew install python) or name one: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
			exit 1; \
		fi; \
		echo "Creating $(VENV) with $$("$$found" --version)"; \
		"$$found" -m venv $(VENV); \
	fi
	@echo "Installing the pinned dependencies into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

demo: venv ## run a simulated shop through the engine, with progress and a summary; SECONDS=10 bounds it
	@$(BIN)/anlass demo --seconds $(DEMO_SECONDS)

kafka: venv ## run a Kafka broker on 127.0.0.1:9092, data in var/kafka; PORT=… BROKERS=3
	@$(BIN)/python -m tests.services kafka --port $(or $(PORT),9092) --brokers $(or $(BROKERS),1)

test: venv ## run the tests that need nothing but Python, in minutes (docs/testing.md)
	$(PYTEST) -m 'not rest'

test-rest: venv ## run the others: they need a broker, a database server, Node, a browser, or long
	$(PYTEST) -m rest

test-all: venv ## run every test; a missing part is skipped with a line that says so, or fails when CI=true
	$(PYTEST)

soak: venv ## kill workers and brokers under load, report to docs/reliability.md; MINUTES=30 SEED=…; goes on when interrupted
	@$(BIN)/python -m tests.chaos --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

check: venv ## format, lint, imports, types, every test
	@MAKE='$(MAKE)' .ci/run --static
	$(PYTEST)

fmt: venv ## format the code and mend what the linter can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: venv ## build the documentation as a site into var/site, with search; a broken link fails
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "Open var/site/index.html, or serve it: $(BIN)/python -m mkdocs serve"

bench: venv ## run the benchmarks and print a table; they take minutes
	$(BIN)/python -m benchmarks

clean: ## remove what builds, runs and checks left behind, .venv included
	rm -rf $(VENV) var build dist .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
