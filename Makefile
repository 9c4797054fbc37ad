# The way in: `make demo` runs the whole loop, `make test` every check. Both make .venv first.
SHELL := /bin/bash
PYTHON := $(firstword $(foreach name,python3.11 python3.12,$(shell command -v $(name))))
export PATH := $(CURDIR)/.venv/bin:$(PATH)

.PHONY: help setup demo test drill bench check ui stop stack stack-stop stack-test

help:
	@echo "make setup   .venv with pinned dependencies (Python 3.11 or 3.12)"
	@echo "make demo    the whole loop on a sample clip: out/demo/animation.mp4 and report.html; KEEP=0 stops all after it"
	@echo "make test    every check and test"
	@echo "make drill   longer proofs, about half an hour; logs and figures stay in runs/drills"
	@echo "make bench   speed against the published formulation and the floor; BENCH='--quick' for a glance"
	@echo "make check   style, types, import rules, the files of infra, and the documentation, which is built in out/docs"
	@echo "make ui      start Prefect, MLflow and Ray and print where they are"
	@echo "make stop    stop them"
	@echo "make stack   start what a team's server runs, each with a password, on loopback; make stack-stop ends it"
	@echo "make stack-test  the whole loop on such a stack of its own, about 13 minutes on two busy cores; nothing is left running"

setup: .venv/ready

# The scripts of a .venv that was moved or copied with the project run the code in its former folder.
VENV_OF_ANOTHER_FOLDER := $(shell grep '^command = ' .venv/pyvenv.cfg 2>/dev/null | grep -vF ' $(CURDIR)/.venv')
ifneq ($(VENV_OF_ANOTHER_FOLDER),)
.PHONY: .venv/ready
endif

.venv/ready: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "no python3.11 or python3.12 on PATH: install one of them"; exit 1; }
	$(if $(VENV_OF_ANOTHER_FOLDER),rm -rf .venv)
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check \
		--constraint constraints.txt --editable '.[data,train,serve,stack,dev]'
	touch $@

demo: setup
	lia demo $(if $(filter 0,$(KEEP)),--no-keep)

test: setup
	lia fetch samples models
	$(MAKE) check
	pytest -n 2 --dist loadfile -m "not slow and not drill"
	pytest -n 2 --dist loadfile -m "slow and not drill"

drill: setup
	lia fetch samples models
	mkdir -p runs/drills
	set -o pipefail; pytest -m drill -s -v 2>&1 | tee runs/drills/$$(date +%Y-%m-%d-%H%M).log

bench: setup
	lia fetch samples models
	python -m tests.benchmarks $(BENCH)

check: setup
	ruff check .
	ruff format --check .
	basedpyright
	lint-imports
	pytest -q tests/infra/files
	NO_MKDOCS_2_WARNING=1 python -m mkdocs --quiet build --strict -f docs/mkdocs.yml

ui: setup
	lia up

stop: setup
	lia stop

stack: setup
	lia fetch models
	python -m infra.stack up

stack-stop: setup
	python -m infra.stack down

stack-test: setup
	lia fetch samples models
	pytest -x -v --durations 0 tests/drills/test_stack.py
