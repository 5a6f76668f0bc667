# Each target creates the virtual environment that it needs, so each works as the first command.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

.PHONY: demo test test-long check fmt docs clean

demo: $(VENV)/.test
	$(BIN)/python examples/demo.py demo-output

test: $(VENV)/.test
	$(BIN)/python -m pytest -n 3 --dist worksteal tests

test-long: $(VENV)/.test
	JOBTOOL_TEST_EXEC=1 JOBTOOL_TEST_KILLS=100 JOBTOOL_TEST_STORM_SECONDS=60 \
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/faults tests/cluster

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python docs/generate_reference.py --check

fmt: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.dev
	$(BIN)/python docs/generate_reference.py
	$(BIN)/mkdocs build --strict

clean:
	rm -rf $(VENV) build site demo-output *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(PIP) '.[test]'
	touch $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(PIP) '.[dev]'
	touch $(VENV)/.test $@
