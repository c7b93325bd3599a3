# Two commands are enough: `make demo` and `make test`. Each installs what it needs first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
LS_VENV := .venv-label-studio
ML_VENV := .venv-label-studio-ml
LS_DATA := $(LS_VENV)/share/labelwheel
LABEL_STUDIO := label-studio==1.23.2
PYTEST := $(BIN)/python -m pytest

.DEFAULT_GOAL := help
.PHONY: help install constraints label-studio hosted up down demo test test-fast lint fix prove bench docs clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(VENV)/.installed label-studio  ## Build .venv and Label Studio's own environment

label-studio: $(LS_DATA)/label_studio.sqlite3  ## Build Label Studio's environment only

hosted: $(ML_VENV)/.installed  ## Build the environment of the published label-studio-ml (the tests host our model in it)

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Labelwheel needs Python 3.11 or newer: make PYTHON=python3.11 …"; exit 1; }
	@echo "Installing Labelwheel into $(VENV): about 3 GB, some minutes"
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[test]"
	@touch $@

# Label Studio pins older redis and rq than ours, so it lives alone.
$(LS_VENV)/.installed:
	@echo "Installing Label Studio into $(LS_VENV): about 1 GB"
	$(PYTHON) -m venv $(LS_VENV)
	$(LS_VENV)/bin/python -m pip install --quiet --disable-pip-version-check $(LABEL_STUDIO)
	@touch $@

# The published label-studio-ml pins a Flask of 2020, so it lives alone, too; it forgot to name redis and rq.
$(ML_VENV)/.installed:
	@echo "Installing label-studio-ml 1.0.9 into $(ML_VENV)"
	$(PYTHON) -m venv $(ML_VENV)
	$(ML_VENV)/bin/python -m pip install --quiet --disable-pip-version-check label-studio-ml==1.0.9 redis==8.1.0 rq==2.12.0
	@touch $@

# An empty database with its migrations done: each first start of a Label Studio copies it instead of taking a minute.
$(LS_DATA)/label_studio.sqlite3: $(LS_VENV)/.installed
	@echo "Preparing Label Studio's database: about a minute"
	@rm -rf $(LS_DATA) && mkdir -p $(LS_DATA).draft
	@LABEL_STUDIO_BASE_DATA_DIR=$(abspath $(LS_DATA).draft) FEATURE_FLAGS_OFFLINE=true COLLECT_ANALYTICS=false SENTRY_DSN= FRONTEND_SENTRY_DSN= \
	  $(LS_VENV)/bin/python $(LS_VENV)/lib/python3.*/site-packages/label_studio/manage.py migrate --no-color --verbosity 0 > $(LS_DATA).log 2>&1 \
	  || { cat $(LS_DATA).log; exit 1; }
	@mkdir -p $(LS_DATA) && mv $(LS_DATA).draft/label_studio.sqlite3 $@ && rm -rf $(LS_DATA).draft && touch $@

up: install  ## Start everything on this machine (Ctrl-C stops it)
	@$(BIN)/labelwheel up

down: install  ## Stop what `up` left running
	@$(BIN)/labelwheel down

demo: install  ## Turn the wheel once for real (DATA=folder, SEED=n, KEEP=1)
	@$(BIN)/labelwheel demo $(if $(DATA),--data "$(DATA)") $(if $(SEED),--seed $(SEED)) $(if $(KEEP),--keep)

test: install hosted lint  ## Lint and run all tests: unit, integration, acceptance
	$(PYTEST) --durations 15 tests/unit tests/integration tests/acceptance

test-fast: $(VENV)/.installed  ## Unit tests only: seconds
	$(PYTEST) tests/unit

lint: $(VENV)/.installed  ## Ruff, strict types, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fix: $(VENV)/.installed  ## Let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

prove: install  ## The long proofs at full counts; JSON under var/prove
	$(PYTEST) tests/unit tests/integration tests/acceptance -m prove -s

bench: install  ## Benchmarks; JSON under var/bench
	$(PYTEST) tests/benchmarks -s

docs: $(VENV)/.installed  ## Generate docs/settings.md and docs/commands.md
	$(BIN)/python -m console.reference docs

constraints: $(VENV)/.installed  ## Write this environment's releases into constraints.txt
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//' | grep -E '==' | grep -vE '^(pip|setuptools|wheel)=='; } > constraints.draft
	@mv constraints.draft constraints.txt

clean:  ## Remove environments and caches; var/ stays
	rm -rf $(VENV) $(LS_VENV) $(ML_VENV) *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
