# make setup | test | test-slow | test-gpu | check | docs | site
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: setup test test-slow test-gpu check docs site format clean

setup: $(VENV)/.installed-dev

$(VENV)/.installed-dev: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable ".[dev]"
	touch $@

test: setup
	$(BIN)/python -m pytest --durations=10

test-slow: setup
	$(BIN)/python -m pytest -m "slow and not gpu" --durations=10

test-gpu: setup
	$(BIN)/python -m pytest -m gpu tests/gpu --durations=20 -rs

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate_reference.py --check
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

docs: setup
	$(BIN)/python docs/generate_reference.py

site: setup
	$(BIN)/mkdocs serve

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
