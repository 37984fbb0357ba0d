# Python 3.11+ and make are enough for every target. `make` alone lists the targets.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt

# Extras of the environment of `make test`; `make test EXTRAS=test,ray` also tests the job for many machines.
EXTRAS ?= test
# An index of PyTorch's small builds, without CUDA; empty takes those of the default index. `make demo` has one.
TORCH_INDEX ?=
PYTEST := $(BIN)/pytest
# Processes of a test run. The tests of a file stay in one process, because they share fixtures.
PROCESSES ?= 2
PARALLEL := -n $(PROCESSES) --dist loadfile
# The service's tests are sensitive to load, so they run apart from the others.
SERVICE := tests/runtime/serve

comma := ,
# One stamp for each set of extras: a target never runs in an environment that was installed for another one.
stamp = $(VENV)/installed-$(subst $(comma),+,$(1))

.DEFAULT_GOAL := help
.PHONY: help demo check test coverage lint lint-js wasm docs tables dist clean

help: ## List the targets.
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf '%-10s %s\n' "$$name" "$$text"; done

$(VENV)/installed-%: pyproject.toml constraints.txt
	@echo "== Install the extras $(subst +,$(comma),$*) into $(VENV) =="
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -c 'import torch, torchvision' 2>/dev/null || $(if $(TORCH_INDEX),$(PIP) --retries 1 --timeout 20 --no-deps --index-url $(TORCH_INDEX) torch torchvision 2>/dev/null || \
		{ echo "note: no PyTorch without CUDA to be had from $(TORCH_INDEX); the default index is used";) $(PIP) torch torchvision$(if $(TORCH_INDEX),; },)
	$(PIP) -e '.[$(subst +,$(comma),$*)]'
	touch $@

demo: TORCH_INDEX = https://download.pytorch.org/whl/cpu
demo: $(call stamp,export) ## Train, export, verify and classify photos; ends with a page to open.
	$(BIN)/python examples/demo.py

check: lint ## Lint, types and the fast tests, in under 90 seconds.
	$(PYTEST) -q $(PARALLEL) -m 'not slow' --ignore=$(SERVICE)
	$(PYTEST) -q -m 'not slow' $(SERVICE)

test: lint ## Everything: lint, types and all tests.
	$(PYTEST) $(PARALLEL) --ignore=$(SERVICE)
	$(PYTEST) $(SERVICE)

coverage: $(call stamp,$(EXTRAS)) ## All tests; the branch coverage of runtime and export must reach its limit.
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q $(PARALLEL) --ignore=$(SERVICE)
	$(BIN)/coverage run -m pytest -q $(SERVICE)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage html --quiet --fail-under=0
	$(BIN)/coverage report --include='*/fmnist_runtime/*'
	$(BIN)/coverage report --include='*/fmnist_export/*'

lint: $(call stamp,$(EXTRAS)) ## Style, formatting, the direction of imports, types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

lint-js: $(call stamp,$(EXTRAS)) ## Style and types of the page's scripts; needs Node.js.
	@command -v npm >/dev/null || { echo "lint-js: skipped, because npm is not installed"; exit 0; }; \
	$(BIN)/python tests/web/write_sources.py && cd tests/web && npm install --silent --no-package-lock --no-fund --no-audit && npm run --silent lint

wasm: ## Compile the page's kernels to WebAssembly; needs clang and lld.
	runtime/kernels/build.sh

docs: $(call stamp,$(EXTRAS)) ## Build the documentation site into site/; a broken link is an error.
	$(BIN)/zensical build --strict --clean

tables: $(call stamp,$(EXTRAS)) ## Write the tables of README and guides again from the results on disk.
	$(BIN)/python benchmarks/studies/tables.py

dist: $(call stamp,$(EXTRAS)) ## Build wheel and source archive into dist/.
	rm -rf dist
	$(BIN)/python -m build --no-isolation

clean: ## Remove the environment and what was built.
	rm -rf $(VENV) runs/demo dist build site
