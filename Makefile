# Each target is a line of `make help`.
.DEFAULT_GOAL := help
SHELL := /bin/bash
IMAGE ?= trading-runtime
BUILDER ?= docker
.PHONY: help run test soak check lock lint format image clean bench data bootstrap

help: ## list the targets
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' Makefile | expand -t 12

run: bootstrap ## backtest the bundled example, then three paper cycles on it
	.venv/bin/trading-runtime backtest --config trading_runtime/local/local.json
	@for slot in 1 2 3; do echo && TRADING_RUNTIME_LOG=warning \
	  .venv/bin/trading-runtime cycle --config trading_runtime/local/paper.json --mode paper || exit $$?; done

soak: bootstrap ## the crash matrix and its like, for minutes
	.venv/bin/python -m pytest -m soak

test: bootstrap ## run the tests
	scripts/test

check: bootstrap ## lint, types, imports and the lock, as CI does
	scripts/check

lock: bootstrap ## compile requirements.txt and requirements-dev.txt from pyproject.toml
	scripts/compile-requirements.sh

lint: bootstrap ## look for defects of style only
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .

format: bootstrap ## format the code, correct what can be corrected safely
	.venv/bin/ruff format .
	.venv/bin/ruff check --fix .

image: ## build the image from the pins of .env; BUILDER=podman works too
	@pins=$$(scripts/compile-requirements.sh --pins) && eval "$$pins" && \
	commit=$${TRADING_RUNTIME_COMMIT:-$$(git describe --always --dirty --abbrev=40 --exclude='*')} && \
	$(BUILDER) build $${BASE_IMAGE:+--build-arg BASE_IMAGE="$$BASE_IMAGE"} \
	  --build-arg GIT_COMMIT="$$commit" --tag "$(IMAGE):$$commit" .

clean: ## remove what tools and builds left behind; .venv stays
	rm -rf build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis ./*.egg-info
	find trading_runtime tests -name __pycache__ -type d -prune -exec rm -rf {} +

bench: bootstrap ## measure speed and memory
	.venv/bin/python -m benchmarks

data: bootstrap ## make the data of the tests again
	@set -e; for script in tests/data/scripts/*.py; do .venv/bin/python "$$script"; done

bootstrap:
	@scripts/bootstrap
