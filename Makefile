# Ackproof's errands. `make demo` and `make test` need git, make and Python 3.11 or newer,
# and set up the rest themselves.

SHELL := /bin/bash
bin := .venv/bin
# Tests wait more than they compute, so there are more of them than cores.
jobs ?= $(shell echo $$((3 * $$(nproc 2>/dev/null || sysctl -n hw.ncpu))))

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test full setup doctor lint mutants clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

demo: setup ## set up, then measure what Celery loses on each broker
	$(bin)/ackproof study

test: lint ## set up, then what every commit must pass: lint, tests, scenarios as claims, the wheel
	$(bin)/python -m pytest tests -n $(jobs) -m "not full"
	$(bin)/ackproof check -m "not long" scenarios/
	scripts/test_wheel.sh

full: lint ## all there is, and says at its end what failed; takes much longer than test
	@scripts/full.sh $(jobs)

setup: ## install what is missing, under .venv/ and .tools/
	@scripts/setup.sh

doctor: setup ## show each part, where it is and how to get the rest
	@$(bin)/ackproof doctor

lint: setup ## ruff, mypy, the import rules
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	MYPYPATH=$$(printf '%s:' workloads/*/) $(bin)/mypy
	$(bin)/lint-imports

mutants: setup ## break the judge on purpose: its tests must notice 95 % of it (10 minutes)
	nice -n 10 $(bin)/python scripts/mutants.py

clean: ## remove what the set-up and the tools made; reports stay
	rm -rf .venv .tools .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist
