# make demo   install, generate a data set, train a tiny MIMDet on it, score it (minutes, CPU)
# make test   install with the development tools, run the linters and the tests
# make lint   the linters alone
# make slow   the tests that take minutes each: trainings of every backbone, learning tests
#
# PYTHON=python3.12  another interpreter      VENV=.venv  another environment folder
# WORKERS=2  processes that run the tests
# SEED=0  of the demo's data and training     PIP_ARGS="--extra-index-url URL"  for pip install

PYTHON ?= python3
VENV ?= .venv
SEED ?= 0
PIP_ARGS ?=
PYTEST_ARGS ?=
WORKERS ?= 2

BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps
SOURCES := pyproject.toml $(shell find mimdet_cli backbones heads recipes -name '*.py' -o -name '*.yaml')
DATA := runs/demo-data-$(SEED)
RUN := runs/demo-$(SEED)-$(shell date +%Y%m%d-%H%M%S)

.PHONY: demo test slow lint

demo: $(STAMPS)/mimdet
	$(BIN)/mimdet data demo $(DATA) --seed $(SEED)
	$(BIN)/mimdet train demo --data $(DATA) --out $(RUN) --seed $(SEED)
	$(BIN)/mimdet eval $(RUN)
	@echo "run folder, with pictures: $(RUN)"

test: lint
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

slow: $(STAMPS)/dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -m slow -n $(WORKERS) --dist load $(PYTEST_ARGS)

lint: $(STAMPS)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

$(STAMPS)/venv:
	@command -v $(PYTHON) >/dev/null || \
	  { echo "There is no '$(PYTHON)'; name another with: make PYTHON=python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "mimdet needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) -V);" \
	         "name another with: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@mkdir -p $(STAMPS) && touch $@

# The two installations replace each other, so each takes back or gives the other's stamp.
$(STAMPS)/mimdet: $(SOURCES) | $(STAMPS)/venv
	@rm -f $(STAMPS)/dev
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) .
	@touch $@

$(STAMPS)/dev: pyproject.toml | $(STAMPS)/venv
	$(BIN)/pip install --quiet --disable-pip-version-check $(PIP_ARGS) --editable '.[dev]'
	@touch $@ $(STAMPS)/mimdet
