# make setup   .venv with the pinned environment
# make demo    setup, then edgexfer quickstart: a trained, distilled, folded, exported, measured model and a report
# make test    setup, then ruff, mypy and all tests
# make test-arm64    as root on a Debian: the bundle on emulated Raspberry Pi 3, 4 and 5, and the images' build steps
# make test-browser  the report in headless Chromium
# make test-thorough thousands of new random graphs and damaged files for folding and verifying (EXAMPLES=3000)
# make pictures DATA=photos/    README's pictures from a report on your photographs (PICTURES="..." for its options)
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test test-arm64 test-browser test-thorough pictures lint clean

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

test-arm64: setup
	$(BIN)/python -m tests.arm64.arm64_emulator
	$(BIN)/python -m pytest -n 2 --dist loadscope -m arm64 tests/arm64

CHROMIUM ?= $(shell command -v chromium || command -v chromium-browser || command -v google-chrome)

test-browser: setup
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt 'playwright>=1.49'
	@if test -n "$(CHROMIUM)"; then :; \
	elif test "$$(id -u)" = 0 && command -v apt-get >/dev/null; then apt-get update -qq && apt-get install -y -qq chromium; \
	else echo "make test-browser needs Chromium: install it (Debian: sudo apt-get install chromium) or set CHROMIUM=/path/to/chromium" >&2; exit 1; fi
	CHROMIUM="$(CHROMIUM)" $(BIN)/python -m pytest tests/report/browser -m browser

EXAMPLES ?= 3000

test-thorough: setup
	EDGEXFER_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -n 2 tests/fold/test_properties.py tests/fold/onnxfile/test_properties.py \
		tests/fold/onnxfile/test_source.py tests/export/test_verify.py

pictures: setup
	$(BIN)/python -m pip install --disable-pip-version-check --quiet -c constraints.txt 'playwright>=1.49'
	CHROMIUM="$(CHROMIUM)" $(BIN)/python benchmarks/screenshots.py $(DATA) --work pictures $(PICTURES)

clean:
	rm -rf $(VENV) .arm64 demo pictures build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
