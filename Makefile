# make setup   .venv with the pinned environment
# make demo    setup, then edgexfer quickstart: a trained, distilled, folded, exported, measured model and a report
# make test    setup, then ruff, mypy and all tests
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test lint clean

setup: $(STAMP)

$(STAMP): constraints.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "edgexfer needs Python 3.11; found no '$(PYTHON)' (set PYTHON=... to another 3.11)" >&2; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt -e '.[dev]'
	touch $(STAMP)

demo: setup
	$(BIN)/edgexfer quickstart --out demo --force

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy edgexfer

test: lint
	$(BIN)/python -m pytest -n 2 -m 'not arm64 and not browser'

clean:
	rm -rf $(VENV) demo build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
