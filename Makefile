# Every target makes the virtual environment it needs; Python 3.11 with venv is all that must exist.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
export ISTHMUS_DATA ?= $(abspath $(wildcard ../shared/data))

.PHONY: demo test check slow bench docs clean

demo: $(STAMP)
	$(BIN)/python -m isthmus.demo

test: check
	$(BIN)/python -m pytest -n 2

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_floors.py tests/test_docs.py -q

slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

bench: $(STAMP) $(VENV)/.peers
	$(BIN)/python -m benchmarks

$(VENV)/.peers: $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt pythae==0.1.2
	touch $@

docs: $(STAMP)
	$(BIN)/python docs/generate.py

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch==2.13.0
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) demo .mypy_cache .ruff_cache .pytest_cache .hypothesis
