PYTHON ?= python3
VENV := .venv/bin

.PHONY: demo test lint format benchmark

demo: .venv/installed  ## trains on the embedded digits, about four minutes on two cores
	$(VENV)/python main.py

test: lint
	$(VENV)/python -m pytest -n 2

lint: .venv/installed
	$(VENV)/ruff check
	$(VENV)/ruff format --check

format: .venv/installed
	$(VENV)/ruff check --fix
	$(VENV)/ruff format

benchmark: .venv/installed
	$(VENV)/python -m benchmarks.step --dataset=mnist
	$(VENV)/python -m benchmarks.step --dataset=scene

.venv/installed: requirements.txt
	$(PYTHON) -c "import sys; ok = (3, 11) <= sys.version_info < (3, 14); \
	    sys.exit(0 if ok else 'Python 3.11 to 3.13 is needed, this is ' + sys.version \
	    + '. Name another: make PYTHON=python3.12')"
	$(PYTHON) -m venv .venv
	$(VENV)/python -m pip install --quiet -r requirements.txt "ruff>=0.14,<1"
	touch $@
