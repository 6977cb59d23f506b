# Every target sets up .venv by itself: `make demo` and `make test` work on a fresh clone.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
WORKERS ?= auto
N ?= 10000

.DEFAULT_GOAL := help
.PHONY: help demo test quick lint kernels conformance fuzz docs clean

help:
	@echo "make demo   search -> export -> deploy on scikit-learn's digits, into runs/demo"
	@echo "make test   ruff, mypy --strict and every test, on all cores (WORKERS=2: on two)"
	@echo "make quick  the tests that need neither Lava, nor a browser, nor a training, nor seconds each"
	@echo "make lint   ruff and mypy --strict alone"
	@echo "make kernels   the tests of the compiled loops alone, which leave them compiled"
	@echo "make conformance   300 random graphs against real Lava, and the large budgets of the random tests"
	@echo "make fuzz   damaged and malicious files through every reader (N=100000: so many)"
	@echo "make docs   the site of docs/, into build/docs"
	@echo "make clean  remove the environment and the caches"

# uv installs in about a minute what takes pip several; where it cannot be had, pip does it. Both compile what they
# install, else each first import of torch does, or every one where PYTHONDONTWRITEBYTECODE is set.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("spikeport needs Python 3.11 or later, but $(PYTHON) is " + sys.version.split()[0] + "; say make PYTHON=python3.11" if sys.version_info < (3, 11) else 0)'
	@echo "setting up $(VENV), 6 GB: about a minute with uv, several with pip"
	@$(PYTHON) -m venv $(VENV)
	@if $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt uv \
	  && $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python -c constraints.txt -e '.[dev]'; then :; \
	else \
	  echo "uv did not do it; installing with pip"; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'; \
	fi
	@touch $@

.typecheck/spikeport:
	@mkdir -p .typecheck && ln -sfn .. $@

demo: $(READY)
	$(BIN)/spikeport demo

lint: $(READY) .typecheck/spikeport
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	MYPYPATH=.typecheck $(BIN)/mypy -p spikeport

# Numba compiles once and keeps the result: beside mypy, so that the tests' processes do not all do it at once, and
# before the fuzzer, for which 10 s are a hang.
kernels: $(READY)
	$(BIN)/python -m pytest -q tests/deploy/run/kernels tests/search/loops

test: $(READY)
	@$(MAKE) --no-print-directory -j 2 lint kernels
	$(BIN)/python -m pytest -n $(WORKERS)

quick: $(READY)
	$(BIN)/python -m pytest -n $(WORKERS) -m "not lava and not browser and not training and not slow"

conformance: $(READY)
	SPIKEPORT_BUDGET=large $(BIN)/python -m pytest -n $(WORKERS) -m "budget" tests
	$(BIN)/python benchmarks/conformance.py

fuzz: kernels
	$(BIN)/python -m spikeport.tests.fuzz.run $(N)

docs: $(READY)
	$(BIN)/python -m sphinx -q -W --keep-going -E -j auto -b html docs build/docs
	@echo "build/docs/index.html"

clean:
	rm -rf $(VENV) .typecheck .pytest_cache .mypy_cache .ruff_cache build *.egg-info
