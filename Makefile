# Two commands: `make demo` shows the whole pipeline, `make test` proves it. Both start from Python 3.11+ and make alone.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO := runs/demo
# `make test EXTRAS=test,ray` also proves the recipe for many machines.
EXTRAS ?= test

.PHONY: demo test lint clean

# The heavy packages come first and by exact version: a matching pair, and nothing else decides which one it is.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch torchvision
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$(EXTRAS)]'
	touch $@

demo: $(VENV)/installed
	@echo "== Train briefly on the embedded sample of real images =="
	rm -rf $(DEMO)
	$(BIN)/fmnist-train --data sample --epochs 8 --output $(DEMO)
	@echo "== Export to ONNX, quantise, prove that all three agree =="
	$(BIN)/fmnist-export $(DEMO) --quantize --data sample
	@echo "== Classify photos with the shipped model =="
	$(BIN)/fmnist-infer examples
	@echo "== Latency on this machine =="
	$(BIN)/fmnist-bench --quick

test: $(VENV)/installed lint
	$(BIN)/pytest

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) $(DEMO) dist build
