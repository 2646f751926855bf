# make help lists the targets. A fresh clone needs nothing but Python 3.11 or newer and `make setup`.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
CONFIG ?= configs/pubmedqa_nano.yaml
QED_STEPS ?= 50
ALBUTEROL_STEPS ?= 40
BENCH ?=
FAULTS ?=
PARALLEL ?= -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup test test-faults check docs demo demo-qa bench clean

help:  ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1|/' | \
		while IFS='|' read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

setup: $(STAMP)  ## create .venv and install rl4bio with its tested versions

$(STAMP): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "rl4bio needs Python 3.11 or newer, '$(PYTHON)' is $$($(PYTHON) --version 2>&1 | head -n 1); use make PYTHON=python3.12" >&2; \
		exit 2; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

test: setup  ## run the tests
	$(BIN)/python -m pytest -q $(PARALLEL)

test-faults: setup  ## the long faults: 300 kills, 50 signals, 200 hangs (FAULTS="--kills 20 --seed 1")
	$(BIN)/python -m tests.test_faults.table $(FAULTS)

check: setup  ## lint, check the format and the types, run the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q $(PARALLEL)

docs: setup  ## build the site into site/, from docs/, README, notebooks and the package itself
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

demo: setup  ## tune the MolGPT prior toward QED and albuterol on a CPU, before and after
	rm -rf runs/demo-qed runs/demo-albuterol
	$(BIN)/rl4bio fit --config configs/molgpt_qed.yaml name=demo-qed trainer.max_steps=$(QED_STEPS)
	$(BIN)/rl4bio fit --config configs/molgpt_albuterol.yaml name=demo-albuterol trainer.max_steps=$(ALBUTEROL_STEPS)
	@echo; echo "== QED, drug-likeness =="; $(BIN)/rl4bio evaluate --run runs/demo-qed
	@echo; echo "== similarity to albuterol =="; $(BIN)/rl4bio evaluate --run runs/demo-albuterol

demo-qa: setup  ## train and evaluate a small model on trial abstracts on a CPU
	rm -rf runs/demo-qa
	$(BIN)/rl4bio fit --config $(CONFIG) name=demo-qa
	$(BIN)/rl4bio evaluate --run runs/demo-qa evaluation.max_items=120

bench: setup  ## whole GRPO steps against TRL on a CPU (BENCH="--settings C --precision fp32")
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[bench]"
	$(BIN)/python -m benchmarks.grpo_step $(BENCH)

clean:  ## remove caches and build outputs (keeps .venv and runs/)
	rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
	find rl4bio tests experiments benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +
