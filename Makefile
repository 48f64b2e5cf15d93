# Everything a developer or CI runs. Needs Python >= 3.11 with venv, and nothing else.
#
#   make demo      the three examples on real Redis and Celery, with a worker killed half way
#   make test      lint, types, layers, and the tests except the slow ones, three files at a time (PARALLEL= for one)
#   make test-all  the same with the slow tests (kills at every fault point, soaks), test-replay and test-mutants
#   make test-replay  the tests of workflows with no machine kept: a full replay of the history at every step
#   make test-mutants  takes each guard and each write out of the Redis scripts: some test must fail every time
#   make check     lint, types, layers
#   make docs      the pages of docs/ as a site in build/docs; a link that leads nowhere is an error
#   make bench     the figures of benchmarks/README.md
#   make clean     removes what make made

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PYTEST ?= $(BIN)/python -m pytest
PARALLEL ?= -n 3 --dist loadfile --no-loadscope-reorder
REPLAY  = $(PYTEST) $(PARALLEL) --replay-everything -m "not slow" tests/unit/core tests/unit/testing tests/fundamentals tests/acceptance tests/replay
ARGS   ?=

# Tests start hundreds of processes: compiling the package anew in each would be most of their time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test test-all test-replay test-mutants check lint types layers docs bench clean

help:
	@sed -n 's/^#   //p' Makefile

install: $(STAMP)

# The virtual environment is made anew when its interpreter is gone (a moved folder, another Python).
$(STAMP): pyproject.toml requirements.lock
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Python 3.11 or newer is needed; say which with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(BIN)/python -c 'import pip' 2>/dev/null || $(PYTHON) -m venv --clear $(VENV) \
	  || { echo "cannot make a virtual environment: on Debian or Ubuntu, apt-get install python3-venv" >&2; exit 1; }
	@echo "installing into $(VENV) ..."
	@for try in 1 2 3; do \
	  $(BIN)/python -m pip install -qq --disable-pip-version-check --retries 5 --timeout 60 \
	    --constraint requirements.lock --editable '.[dev]' && break; \
	  test $$try = 3 && exit 1; echo "pip failed, trying again" >&2; sleep $$((try * 5)); \
	done
	@touch $@

demo: $(STAMP)
	@$(BIN)/python -m examples.demo $(ARGS)

test: check
	$(PYTEST) $(PARALLEL) -m "not slow" $(ARGS)

test-all: check
	$(PYTEST) $(PARALLEL) $(ARGS)
	$(REPLAY) $(ARGS)
	$(BIN)/python -m tests.mutants

test-replay: $(STAMP)
	$(REPLAY) $(ARGS)

test-mutants: $(STAMP)
	$(BIN)/python -m tests.mutants $(ARGS)

check: lint types layers

lint: $(STAMP)
	$(BIN)/ruff check .

types: $(STAMP)
	$(BIN)/mypy

layers: $(STAMP)
	$(BIN)/lint-imports --no-cache

docs: $(STAMP)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf $(VENV) .demo build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
