# Everything a developer runs. From a fresh clone: `make test`, or `make env` and then `.venv/bin/python`.
# Needs Python with venv; for all servers of the tests also node with npm, and nginx (or root and apt-get to get it).

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.SECONDARY:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

# "3.X PATH" for each supported interpreter, oldest first; looked for only by the targets that need it.
PYTHONS = .ci/pythons
BIN = .venv/bin

# $(call install,VENV,INTERPRETER): a virtual environment with slicedfs in place, its extras, and all tools.
define install
	$(2) -m venv --clear $(1)
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(1)/bin/uv pip install --quiet --python $(1)/bin/python --editable '.[all]' --group dev
	@touch $@
endef

.PHONY: help
help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "PYTHON=path chooses the interpreter of .venv (otherwise the oldest that is supported)."

.PHONY: env
env: .venv/ready  ## make .venv with slicedfs (editable), all its extras, and the tools for development

.venv/ready: pyproject.toml
	$(call install,.venv,$${PYTHON:-$$($(PYTHONS) | head -n 1 | cut -d ' ' -f 2)})

.venv-%/ready: pyproject.toml
	$(call install,.venv-$*,$$($(PYTHONS) | sed -n 's/^$* //p'))

.PHONY: servers
servers: node_modules/ready  ## get the servers of the tests that pip cannot: nginx (apt, as root), azurite (npm)
	@if PATH="$$PATH:/usr/sbin" command -v nginx > /dev/null; then \
		true; \
	elif [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get install -y -qq --no-install-recommends nginx-light \
			|| { apt-get update -qq && apt-get install -y -qq --no-install-recommends nginx-light; }; \
	else \
		echo "nginx is missing, and only root can install it (Debian: apt-get install nginx-light)." >&2; \
	fi

# Without npm the tests that need azurite say so: they fail where CI is set, and are skipped elsewhere.
node_modules/ready: package.json
	@if command -v npm > /dev/null; then \
		npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error && touch $@; \
	else \
		echo "npm is missing: no azurite (Debian: apt-get install nodejs npm)." >&2; \
	fi

.PHONY: check
check: env  ## format, lint, types, layers, and the state of the repository
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/sp-repo-review .

.PHONY: test
test: env servers check  ## check, and all tests on the oldest and the newest supported Python of this machine
	@versions=$$($(PYTHONS) | cut -d ' ' -f 1 | sed -n '1p;$$p' | uniq); \
	for version in $$versions; do \
		$(MAKE) --no-print-directory test-$$version; \
	done

# All tests on one Python: make test-3.12
test-%: .venv-%/ready
	.venv-$*/bin/python -m pytest

.PHONY: demo
demo: env  ## make an experiment out of a real micrograph and show what slicedfs does with it
	$(BIN)/python examples/demo.py

.venv-bench/ready: pyproject.toml
	$(call install,.venv-bench,$$($(PYTHONS) | head -n 1 | cut -d ' ' -f 2))
	.venv-bench/bin/uv pip install --quiet --python .venv-bench/bin/python --group bench

.PHONY: bench
bench: .venv-bench/ready servers  ## measure slicedfs beside its peers (half an hour; the machine should do nothing else)
	.venv-bench/bin/python -m benchmarks.peers

.PHONY: clean
clean:  ## remove everything that is not in the repository and can be made again
	rm -rf .venv .venv-* node_modules dist build examples/output benchmarks/output
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
