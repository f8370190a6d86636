# What a person types. Everything is installed into $(VENV); nothing outside this folder changes.

VENV ?= .venv
JOBS ?= auto
# more arguments for pip, such as --extra-index-url https://download.pytorch.org/whl/cpu for a torch without CUDA
PIP_ARGS ?=
# the first Python that is new enough; 3.11 is the one that the pinned versions were tested with
PYTHON ?= $(shell for p in python3.11 python3 python3.12 python3.13; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_ARGS) -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo test lint format notebooks docs bench retrain clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r what why; do printf '  make %-10s %s\n' "$$what" "$$why"; done

demo: $(VENV)/.core ## sample and score molecules with the shipped model; files and a report in demo/
	@mkdir -p demo
	$(BIN)/molflow sample qm9 --n 200 --seed 0 --out demo/molecules.sdf --overwrite
	$(BIN)/molflow score demo/molecules.sdf --json demo/report.json --overwrite
	$(BIN)/python tools/demo.py demo

# one thread a process: more processes than processors that each wait for many threads stand still
test: $(VENV)/.dev ## all tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -rs -n $(JOBS) --dist worksteal

lint: $(VENV)/.dev ## ruff and pyright
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.dev ## let ruff mend and format the code
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

notebooks: $(VENV)/.dev ## run the notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) notebooks

docs: $(VENV)/.docs ## the documentation site, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir build/site

bench: $(VENV)/.dev ## run the shorter benchmarks that need no data; the others are told on the pages of docs/
	@set -e; for name in networks couplings data evaluations; do \
		echo "== $$name"; $(BIN)/python benchmarks/$$name.py; done

# A run that was stopped leaves its folder: go on with its command and --resume, or remove the folder.
QM9 ?= qm9.safetensors
TRAIN = OMP_NUM_THREADS=1 $(BIN)/molflow train configs/qm9_cpu.yaml data.path=$(QM9) train.samples=0
NARROW = network.pair_width=24
EARLY = train.lr=3e-3 "times={name: beta, a: 3, b: 4}"
LATE = train.lr=2e-3 "times={name: beta, a: 4, b: 1}" "path.pos={name: linear, cap: 1000}"

retrain: runs/qm9 runs/qm9-relay ## train qm9 and qm9-relay anew, into runs/: about 6 hours of one core, under 4 of two with make -j2

$(QM9): | $(VENV)/.core
	$(BIN)/molflow data qm9 --elements H,C,N,O --out $@
runs/qm9: | $(QM9)
	$(TRAIN) train.epochs=5.5 seed=0 --out $@
runs/narrow: | $(QM9)
	$(TRAIN) $(NARROW) train.epochs=5.5 seed=0 --out $@
runs/early: | runs/narrow
	$(TRAIN) $(NARROW) train.init=runs/narrow $(EARLY) train.steps=7000 seed=3 --out $@
runs/told: | runs/early
	$(TRAIN) $(NARROW) network.census=true train.init=runs/early $(EARLY) train.steps=18000 seed=6 --out $@
runs/late: | runs/narrow
	$(TRAIN) $(NARROW) train.init=runs/narrow $(LATE) train.steps=7000 seed=4 --out $@
runs/qm9-relay: | runs/told runs/narrow runs/late
	$(BIN)/molflow relay runs/told runs/narrow runs/late --at 0.6,0.9 --out $@

clean: ## remove what the other targets made, the environment too
	rm -rf $(VENV) demo build dist *.egg-info .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(BIN)/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "molflow needs Python 3.11 or later; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; fi
	$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }

# The stamps are as new as the last installation, so that an install happens only when what it reads has changed.
$(VENV)/.core: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[dev,view,log,xtb,ode,metrics,fcd,parquet,ase]'
	@touch $(VENV)/.core $@

$(VENV)/.docs: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) -e '.[docs]'
	@touch $(VENV)/.core $@
