# The course's commands. `make` alone lists them; each sets up .venv first where it is out of date.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.PHONY: help setup course lab test smoke versions notebooks records site slides bench lint hooks lock clean

PYTHON ?= python3
VENV := $(CURDIR)/.venv
READY := .venv/.ready
BIN := $(VENV)/bin

# One thread a process: small networks run 10 to 35 times slower when two fight for the cores.
export OMP_NUM_THREADS := 1
export OMP_WAIT_POLICY := PASSIVE
SCOREBOARD = mkdir -p runs/committed && \
  $(BIN)/labkit report data/records/*-quick-*.json --out runs/committed --readme README.md && \
  $(BIN)/python site/recap.py
# Whatever environment is active in this shell, the commands work in .venv.
export VIRTUAL_ENV := $(VENV)
unexport PYTHONPATH PYTHONHOME

help:
	@echo 'make course      set up, run every notebook, draw the scoreboard'
	@echo 'make smoke       run every notebook in seconds: does everything work here?'
	@echo 'make test        all tests (FAST=1: the quick ones; SEEDS=1: also seed 1 at full size)'
	@echo 'make versions    quick tests and notebook 01 on the oldest and newest allowed packages'
	@echo 'make lab         JupyterLab at the first notebook'
	@echo 'make setup       only the environment, in .venv'
	@echo 'make notebooks   rebuild what changed in notebooks/, the scoreboard and the recap'
	@echo 'make records     every notebook on five seeds: data/records/, scoreboard, recap'
	@echo 'make site        the course as web pages, in build/site/'
	@echo 'make slides      a notebook as slides for a lecture (make slides NB=05), in build/slides/'
	@echo 'make hooks       lint, notebooks and file sizes are looked at before each commit'
	@echo 'make lint        ruff;  make bench: benchmarks;  make lock: renew requirements.lock'
	@echo 'make clean       remove .venv'

setup: $(READY)
	@echo 'setup: .venv is ready'

# uv, and not pip: it takes the locked versions, so torch and torchvision are always of one build.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo 'setup: Python 3.11 or newer is needed; "$(PYTHON)" is older or missing.' \
	       'Try: make $(MAKECMDGOALS) PYTHON=python3.12'; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || { \
	  echo 'setup 1/4: .venv'; $(PYTHON) -m venv --clear .venv; } || { \
	  echo 'setup: "$(PYTHON) -m venv" failed. On Debian and Ubuntu: apt-get install python3-venv'; \
	  exit 1; }
	@test -x $(BIN)/uv || { echo 'setup 2/4: uv'; \
	  $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; }
	@echo 'setup 3/4: the locked packages (some minutes the first time)'
	@$(BIN)/uv pip install $$(test -t 2 || echo --quiet) --python $(BIN)/python \
	  --requirement requirements.lock --compile-bytecode
	@echo 'setup 4/4: labkit'
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $@

course: $(READY)
	@failed=0; $(BIN)/labkit run all || failed=$$?; $(BIN)/labkit report runs && exit $$failed

# Over the whole repository, so that links to ../docs/ open; the settings show them as pages.
lab: $(READY)
	@first=$$(ls notebooks/[0-9][0-9]_*.ipynb | head -n 1); \
	$(BIN)/jupyter lab --ip=127.0.0.1 --ServerApp.root_dir=. \
	  --LabApp.app_settings_dir=notebooks/settings --LabApp.default_url="/lab/tree/$$first" \
	  $$(test "$$(id -u)" != 0 || echo --allow-root)

# FAST=1: the quick group, but for what is marked thorough. SEEDS=1: also every notebook at full size on seed 1, before a release.
test: $(READY)
	@$(BIN)/python tests/groups.py $(if $(filter-out 0,$(FAST)),--fast) \
	  $(if $(filter-out 0,$(SEEDS)),--seeds) $(PYTEST)

# Does everything work here? Each notebook in seconds; no verdicts.
smoke: $(READY)
	@$(BIN)/labkit run all --profile smoke --out runs/smoke

versions: $(READY)
	@$(BIN)/python tests/versions.py $(ARGS)

notebooks: $(READY)
	@$(BIN)/python notebooks/build.py $(ARGS)
	@$(SCOREBOARD)

# Five outer seeds of the quick course, some forty minutes; what is done is not done again. Their
# records are committed, and the notebooks with the outputs of seed 0.
records: $(READY)
	@$(BIN)/labkit sweep $(or $(ARGS),all) --seeds 0-4 --dataset fashion --jobs 2 --out runs/course
	@$(BIN)/python notebooks/records.py runs/course
	@$(BIN)/python notebooks/build.py $(ARGS) --take runs/course
	@$(BIN)/python notebooks/build.py --pooled
	@$(SCOREBOARD)

site: $(READY)
	@$(BIN)/python site/build.py

slides: $(READY)
	@$(BIN)/python site/slides.py $(NB)

bench: $(READY)
	@failed=0; for file in benches/bench_*.py; do $(BIN)/python $$file || failed=1; done; exit $$failed

lint: $(READY)
	@$(BIN)/ruff check .

hooks: $(READY)
	@$(BIN)/pre-commit install

# Exact versions for Linux, macOS and Windows, Python 3.11 or newer; no index addresses in the file.
lock: $(READY)
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --no-header --no-annotate \
	  --no-emit-index-url --all-extras pyproject.toml --output-file requirements.lock

clean:
	@rm -rf .venv
