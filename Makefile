# Every target sets up .venv by itself: `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help demo test lint conformance clean

help:
	@echo "make demo   search -> export -> deploy on scikit-learn's digits, into runs/demo"
	@echo "make test   ruff, mypy --strict and every test"
	@echo "make lint   ruff and mypy --strict alone"
	@echo "make conformance   300 random graphs against real Lava"
	@echo "make clean  remove the environment and the caches"

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("spikeport needs Python 3.11 or later, but $(PYTHON) is " + sys.version.split()[0] + "; say make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

.typecheck/spikeport:
	@mkdir -p .typecheck && ln -sfn .. $@

demo: $(READY)
	$(BIN)/spikeport demo

lint: $(READY) .typecheck/spikeport
	$(BIN)/ruff check .
	MYPYPATH=.typecheck $(BIN)/mypy -p spikeport

test: lint
	$(BIN)/python -m pytest

conformance: $(READY)
	$(BIN)/python benchmarks/conformance.py

clean:
	rm -rf $(VENV) .typecheck .pytest_cache .mypy_cache .ruff_cache build *.egg-info
