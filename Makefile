# Each target makes the environment by itself: `make demo` and `make test` work on a fresh machine.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test lint check fuzz bench bench-cpu docs format clean

# torch is named with its pin in the same call, so that pip never looks for another build of it.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch==2.13.0 --editable '.[all,dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/jettison demo

test: $(STAMP)
	$(BIN)/python -m tests.run

lint: $(STAMP)
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir .import_linter_cache

# What each commit leaves green, in minutes; `make test` runs these tests, too.
check: lint
	$(BIN)/python -m pytest -q -n 2 --dist loadfile -m 'not slow' tests/architecture tests/documentation \
	  tests/properties tests/unit/config tests/unit/domain tests/unit/search tests/unit/reporting \
	  tests/unit/trust tests/unit/metrics tests/unit/test_registry.py

# Property tests with new random examples, many of them: what it finds becomes a test.
fuzz: $(STAMP)
	JETTISON_FUZZ=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile tests/properties

bench: $(STAMP)
	$(BIN)/python -m benchmarks.run_all

# Hours; what it needs besides is told in docs/cpu-frontier.md.
bench-cpu: $(STAMP)
	$(BIN)/python -m benchmarks.bench_cpu

docs: $(STAMP)
	$(BIN)/python -m docs.generate

format: $(STAMP)
	$(BIN)/ruff check --fix src tests benchmarks examples
	$(BIN)/ruff format src tests benchmarks examples

clean:
	rm -rf $(VENV) jettison-demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
