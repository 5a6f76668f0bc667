# Each target creates the virtual environment that it needs, so each works as the first command.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# uv installs in a fifth of the time. It doesn't read pip's configuration: pip does it if the
# environment names an index or constraints, and where uv fails. Certificates are the system's, as
# pip's are: an institute's proxy may have its own.
UV := UV_SYSTEM_CERTS=true $(BIN)/python -m uv pip install --quiet --python $(BIN)/python
BY_UV = $(if $(PIP_INDEX_URL)$(PIP_EXTRA_INDEX_URL)$(PIP_CONSTRAINT),false,$(PIP) uv)
INSTALL = $(BY_UV) && $(UV) --editable $(1) || $(PIP) --editable $(1)

# Tests at a time.
WORKERS ?= 3
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# What `make test` leaves to the other three, each a folder that says what is in it.
FAULTS := tests/faults tests/trust
CLUSTER := tests/cluster
PAGES := tests/pages
# .ci/run gives less, and has more tests in one run.
ELSEWHERE := $(FAULTS) $(CLUSTER) $(PAGES)

.PHONY: dependencies venv demo bench test test-faults test-cluster test-pages test-wide test-all test-long check fmt docs clean

demo: $(VENV)/.test
	$(BIN)/python examples/demo.py demo-output

test: $(VENV)/.test
	$(PYTEST) tests $(addprefix --ignore=,$(ELSEWHERE))

test-faults: $(VENV)/.test
	$(PYTEST) $(FAULTS)

test-cluster: $(VENV)/.test
	$(PYTEST) $(CLUSTER)

test-pages: $(VENV)/.test
	$(PYTEST) $(PAGES)

# Further kinds of servers, more kills, and a plate that goes round all stores.
test-wide: export JOBTOOL_TEST_WIDE = 1
test-wide: $(VENV)/.test
	$(PYTEST) tests -m wide

test-all: test test-faults test-cluster test-pages test-wide

# An hour and more, unless the environment says otherwise. YARN has to be installed for its tests:
# .ci/install-test-servers yarn
test-long: export JOBTOOL_TEST_EXEC = 1
test-long: export JOBTOOL_TEST_PAIRS = all
test-long: export JOBTOOL_TEST_WIDE = 1
test-long: export JOBTOOL_TEST_YARN = 1
test-long: export JOBTOOL_TEST_KILLS ?= 1000
test-long: export JOBTOOL_TEST_STORM_SECONDS ?= 600
test-long: $(VENV)/.test
	$(BIN)/python -m pytest -n 2 --dist worksteal tests/faults tests/cluster tests/stores/test_pairs.py

# Beside s5cmd, rclone, aws and, where installed, rsync and fpsync (package fpart): half an hour.
# BENCH has further options.
bench: $(VENV)/.bench
	$(VENV)/users/bin/python -m pip install --quiet --disable-pip-version-check .
	$(BIN)/python -m tests.benchmarks.peers $(firstword $(wildcard /dev/shm) /tmp) $(BENCH)

venv: $(VENV)/.dev

# What jobtool needs of PyPI, without jobtool itself, which wants a compiler. Only uv can do it.
dependencies: | $(BIN)/python
	$(BY_UV) && $(UV) --requirements pyproject.toml --extra dev || true

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
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet --fresh-env -d build/doctrees docs site

clean:
	rm -rf $(VENV) build site demo-output *.egg-info .mypy_cache .ruff_cache .pytest_cache

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.test: pyproject.toml | $(BIN)/python
	$(call INSTALL,'.[test]')
	touch $@

$(VENV)/.bench: pyproject.toml | $(BIN)/python
	$(call INSTALL,'.[bench]')
	$(PYTHON) -m venv --clear $(VENV)/users
	touch $(VENV)/.test $@

$(VENV)/.dev: pyproject.toml | $(BIN)/python
	$(call INSTALL,'.[dev]')
	touch $(VENV)/.test $@
