# Each target sets up .venv from constraints.txt first, if it is not up to date.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Tests spread over the cores; JOBS=0 runs them in one process.
JOBS ?= auto

.PHONY: help simulate test test-all lint format bench clean

help: ## Show this list.
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

simulate: $(READY) ## Simulate a ResNet-18 training iteration on SAT; results go to build/simulate.
	$(BIN)/codesign simulate --arch sat.yaml --out build/simulate

test: $(READY) ## Run the tests (a few minutes).
	$(BIN)/pytest -n $(JOBS) -m "not slow"

test-all: $(READY) ## Run all tests, the slow ones too.
	$(BIN)/pytest -n $(JOBS)

lint: $(READY) ## Check style and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(READY) ## Format the code.
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## Measure speed, each figure against a baseline in the same run.
	$(BIN)/python benchmarks/simulate_speed.py
	$(BIN)/python benchmarks/scalesim_speed.py
	$(BIN)/python benchmarks/mask_speed.py
	$(BIN)/python benchmarks/step_time.py
	$(BIN)/python benchmarks/kernel_speed.py
	$(BIN)/python benchmarks/sweep_speed.py

clean: ## Remove the virtual environment and everything that was built.
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[onnx,train,hf,hls,report,sweep,dev]'
	touch $@
