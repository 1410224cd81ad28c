# `make demo`, `make test` and `make bench` do everything. Each creates .venv itself.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
OLDEST := .venv-oldest
# What Qt and VTK need of Debian or Ubuntu to draw without a screen.
OFFSCREEN := libegl1 libgl1 libosmesa6 libglib2.0-0 libdbus-1-3 libfontconfig1 libxkbcommon0
# Two tests at a time; those of one file stay together, since they share what is slow to make.
AT_ONCE := -n 2 --dist loadfile
CHECKED := NoduleRiskLib NoduleRisk training Testing docs
# What reads and writes, and the tables of the training: where versions of libraries differ.
OLDEST_TESTS := Testing/unit/dicom Testing/unit/imaging Testing/unit/results Testing/unit/cli Testing/unit/training/test_studies.py
# The tests' toy networks only lose time in more threads than one; a real click gains (Testing/benchmark/RESULTS.md).
test test-oldest: export OMP_NUM_THREADS ?= 1
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo serve test test-oldest fuzz bench cohort-trials offscreen lint format types clean

## make demo                              a synthetic chest CT, assessed
## make demo CT=path POINT="r a s"        your own scan: DICOM folder, NRRD, NIfTI or MHA; RAS millimetres
demo: $(VENV)/cli.ready
ifdef CT
	$(RUN) -m NoduleRiskLib assess "$(CT)" --point $(POINT) --out demo/own
else
	$(RUN) -m NoduleRiskLib demo --out demo
endif

## make serve                             the panel's work in a browser, with the synthetic CT (docs/serve.md)
## make serve CT=path                     with your own scan
serve: $(VENV)/serve.ready
	$(RUN) -m NoduleRiskLib serve $(if $(CT),"$(CT)",--demo)

## make test                              lint, types, unit, package, scene, panel, browser
test: $(VENV)/test.ready $(VENV)/scene.ready lint types
	$(RUN) -m pytest $(AT_ONCE) Testing/unit Testing/package Testing/fuzz
	@if $(RUN) -c 'import slicer, PySide6.QtWidgets'; then \
		QT_QPA_PLATFORM=offscreen $(RUN) -m pytest Testing/scene Testing/panel; \
	else \
		echo "LEFT OUT: the scene and panel tests. They need Testing/scene/requirements.txt and, on Linux, the system's"; \
		echo "libraries for drawing without a screen: apt-get install $(OFFSCREEN)"; \
	fi
	$(RUN) -m pytest $(AT_ONCE) Testing/browser

## make test-oldest                       a part of the tests with the oldest dependencies that pyproject.toml allows
test-oldest: $(OLDEST)/ready
	$(OLDEST)/bin/python -m pytest $(AT_ONCE) $(OLDEST_TESTS)

## make fuzz                              tens of thousands of broken inputs: only results and sentences may come of them
fuzz: $(VENV)/test.ready
	$(RUN) -m Testing.fuzz points 20000
	$(RUN) -m Testing.fuzz headers 6000
	$(RUN) -m Testing.fuzz objects 3000
	$(RUN) -m Testing.fuzz packages 3000

## make bench                             what each step costs beside its rivals, as Markdown; about ten minutes
bench: $(VENV)/bench.ready
	@$(RUN) -m Testing.benchmark $(SUBJECTS)

## make cohort-trials                     cohorts killed, on full disks, on two nodes, a thousand series: an hour on two cores
cohort-trials: $(VENV)/test.ready
	@RAY_worker_niceness=0 $(RUN) -m Testing.benchmark.cohort $(TRIALS)

lint: $(VENV)/test.ready
	$(VENV)/bin/ruff check $(CHECKED)
	$(VENV)/bin/ruff format --check $(CHECKED)

format: $(VENV)/test.ready
	$(VENV)/bin/ruff format $(CHECKED)
	$(VENV)/bin/ruff check --fix $(CHECKED)

types: $(VENV)/test.ready
	$(VENV)/bin/mypy

.PHONY: docs notebooks package pictures owner
## make docs                              the documentation's site in out/site; a link that leads nowhere fails
docs: $(VENV)/docs.ready
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --quiet

## make notebooks                         run docs/notebooks from start to end; KEEP=--keep writes their outputs into them
notebooks: $(VENV)/docs.ready
	$(RUN) -m Testing.release.notebooks $(KEEP)

## make package                           wheel, sdist and Slicer archive in out/package, each tried in an empty environment
package: $(VENV)/package.ready
	$(RUN) -m Testing.release

## make pictures                          draw the pictures of README, store and documentation again; two minutes
##                                        (the browser's: python -m Testing.browser.screenshot; the cohort's: by hand)
pictures: $(VENV)/test.ready $(VENV)/scene.ready
	$(RUN) -m training drawings
	$(RUN) -m NoduleRiskLib demo --out out/demo > /dev/null
	cp out/demo/04-spiculated.png Resources/demo.png
	QT_QPA_PLATFORM=offscreen $(RUN) Testing/panel/screenshots.py Resources
	QT_QPA_PLATFORM=offscreen $(RUN) Testing/panel/tutorial_pictures.py docs/pictures
	$(RUN) -m Testing.release.pictures Resources/[a-z]*.png docs/pictures/*.png

## make owner OWNER=name                  write another owner of the repository into all files that name one
owner: $(VENV)/bin/python
	$(RUN) -m Testing.release.owner $(OWNER)

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "NoduleRisk needs Python 3.10 or newer: make PYTHON=/path/to/python3.x ..."; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --upgrade pip

# The extras of pyproject.toml that each part of .venv is made of.
$(VENV)/cli.ready: EXTRAS := cli
$(VENV)/test.ready: EXTRAS := test
$(VENV)/docs.ready: EXTRAS := docs,training
$(VENV)/package.ready: EXTRAS := cli,package
$(VENV)/serve.ready: EXTRAS := browser
$(VENV)/bench.ready: EXTRAS := bench

PARTS := cli test docs package serve bench
$(PARTS:%=$(VENV)/%.ready): pyproject.toml | $(VENV)/bin/python
	$(RUN) -m pip install --quiet --editable ".[$(EXTRAS)]"
	@touch $@

# The oldest versions hide those of .venv, which adds PyTorch (several GB), pytest and all that has no bound of its own.
# Python 3.13 and newer have no wheels of them.
$(OLDEST)/ready: pyproject.toml Testing/oldest_versions.py $(VENV)/test.ready
	$(RUN) -m venv --clear $(OLDEST)
	$(RUN) -c 'import sysconfig; print(sysconfig.get_path("purelib"))' > \
		"$$($(OLDEST)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/shared.pth"
	$(RUN) Testing/oldest_versions.py cli dicom training > $(OLDEST)/versions.txt
	$(OLDEST)/bin/python -m pip install --quiet --only-binary :all: --requirement $(OLDEST)/versions.txt
	@touch $@

# Slicer's own MRML and slice views; there is no wheel of them for every Python.
$(VENV)/scene.ready: Testing/scene/requirements.txt $(VENV)/test.ready
	$(RUN) -m pip install --quiet --requirement $< && touch $@ || echo "Slicer's wheels could not be installed."

## make offscreen                         (as root) install what the tests need of Debian or Ubuntu
offscreen:
	apt-get update -qq && apt-get install -y -qq $(OFFSCREEN)

clean:
	rm -rf $(VENV) $(OLDEST) demo
