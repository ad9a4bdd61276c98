PYTHON ?= python3
VENV := .venv/bin

.PHONY: demo test test-slow test-all lint format benchmark docs

demo: .venv/installed  ## trains on the embedded digits, about four minutes on two cores
	$(VENV)/python main.py

test: lint
	$(VENV)/python -m pytest -n 2 tests/*/
	$(VENV)/python -m pytest -n 2 tests/test_*.py  # graphs of all tests fill the memory

test-slow: .venv/dev  ## what needs a process each: kills, signals, full disks
	$(VENV)/python -m pytest -n 2 -m slow

test-all: test test-slow

lint: .venv/dev
	$(VENV)/ruff check
	$(VENV)/ruff format --check
	$(VENV)/mypy

format: .venv/dev
	$(VENV)/ruff check --fix
	$(VENV)/ruff format

benchmark: .venv/installed
	$(VENV)/python -m benchmarks.step --dataset=mnist
	$(VENV)/python -m benchmarks.step --dataset=docs/images  # the nets of scenes

docs: .venv/dev  ## the documents as a site, in site/; look: python -m http.server -d site
	NO_MKDOCS_2_WARNING=1 $(VENV)/python -m mkdocs build --strict  # strict it is not with --quiet

.venv/installed: requirements.txt
	$(PYTHON) -c "import sys; ok = (3, 11) <= sys.version_info < (3, 14); \
	    sys.exit(0 if ok else 'Python 3.11 to 3.13 is needed, this is ' + sys.version \
	    + '. Name another: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet -r requirements.txt
	touch $@

.venv/dev: requirements-dev.txt .venv/installed
	$(VENV)/python -m pip install --quiet -r requirements-dev.txt
	touch $@
