# Two commands do everything: `make demo` and `make test`. Both create .venv themselves.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
CHECKED := NoduleRiskLib NoduleRisk training Testing
# Small models and images only lose time in more threads than one.
export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test lint format types clean

## make demo                              a synthetic chest CT, assessed
## make demo CT=path POINT="r a s"        your own scan: DICOM folder, NRRD, NIfTI or MHA; RAS millimetres
demo: $(VENV)/cli.ready
ifdef CT
	$(RUN) -m NoduleRiskLib assess "$(CT)" --point $(POINT) --out demo
else
	$(RUN) -m NoduleRiskLib demo --out demo
endif

## make test                              lint, types, unit, scene, panel, package
test: $(VENV)/test.ready lint types
	$(RUN) -m pytest

lint: $(VENV)/test.ready
	$(VENV)/bin/ruff check $(CHECKED)
	$(VENV)/bin/ruff format --check $(CHECKED)

format: $(VENV)/test.ready
	$(VENV)/bin/ruff format $(CHECKED)
	$(VENV)/bin/ruff check --fix $(CHECKED)

types: $(VENV)/test.ready
	$(VENV)/bin/mypy

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "NoduleRisk needs Python 3.10 or newer: make PYTHON=/path/to/python3.x ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip

$(VENV)/cli.ready: pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --editable ".[cli]"
	@touch $@

$(VENV)/test.ready: pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --editable ".[test]"
	@touch $@

clean:
	rm -rf $(VENV) demo
