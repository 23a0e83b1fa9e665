# Every target does the set-up it needs: Python 3.11 or newer and make are enough.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help setup demo test test-all lint bench clean

help:
	@echo "make demo      the whole plant on this machine, with a page to look at"
	@echo "make test      every test but the long ones      make test-all  the long ones too"
	@echo "make lint      style, types, who imports whom    make bench     the figures we claim"
	@echo "make setup     the environment in $(VENV)        make clean     take it away again"

setup: $(READY)

$(READY): pyproject.toml hatch_build.py package-lock.json
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $(READY)

demo: $(READY)
	$(BIN)/mainwatch demo

test: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadgroup -m "not slow"

test-all: $(READY)
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m pytest -q tests/house

bench: $(READY)
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
