# Everything here needs make and Python 3.11 or newer, and sets up the rest itself, in .venv.
#
#   make demo                      train a small network and watch it learn
#   make test                      style, types, tests and the examples in the docstrings
#   PYTHON=python3.12 make test    the same under an interpreter of your choice
#   make test ARGS="-k adam"       hand something on to pytest;  JOBS=4 runs on four processes

VENV ?= .venv
PYTHON ?=
ARGS ?=
JOBS ?=
RUN = $(VENV)/bin/python

# Any Python can start the set-up: it looks for a recent one itself, and says what is missing.
ANY := $(if $(PYTHON),$(PYTHON),$(shell for name in python3 python python3.14 python3.13 \
	python3.12 python3.11; do if $$name -c '' >/dev/null 2>&1; then echo $$name; break; fi; done))
export PYTHON

define ready
@if test -z "$(ANY)"; then \
	echo "No Python was found. tapegrad needs Python 3.11 or newer. Install one:"; \
	echo "    sudo apt install python3 python3-venv    (Debian, Ubuntu)"; \
	echo "    brew install python@3.13                 (macOS)"; exit 1; fi
@if ! command -v "$(ANY)" >/dev/null; then \
	echo "PYTHON=$(ANY): there is no such program. Leave PYTHON out to use what is installed."; \
	exit 1; fi
@"$(ANY)" tools/bootstrap.py --venv "$(VENV)" $(1)
endef

.PHONY: help demo test slow lint format types notebooks docs bench clean

help:
	@sed -n 's/^#   //p' Makefile
	@echo "Also: make slow, lint, format, types, notebooks, docs, bench, clean"

demo:
	$(call ready,demo)
	$(RUN) examples/demo_digits.py

test:
	$(call ready,test)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy -p tapegrad
	$(RUN) -m pytest --doctest-modules --pyargs tapegrad ./tests $(if $(JOBS),-n $(JOBS)) $(ARGS)

slow:  # the tests marked slow; that there are none (5) is no failure
	$(call ready,test)
	$(RUN) -m pytest -m slow ./tests $(ARGS) || test $$? -eq 5

lint:
	$(call ready,test)
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format:  # what it cannot put right is for lint to report
	$(call ready,test)
	$(RUN) -m ruff check --fix-only .
	$(RUN) -m ruff format .

types:
	$(call ready,test)
	$(RUN) -m mypy -p tapegrad

notebooks:  # ARGS=--write keeps the outputs
	$(call ready,notebook)
	$(RUN) tools/run_notebooks.py $(ARGS)

docs:  # writes docs/reference.md; ARGS=--check compares it instead
	$(call ready,test)
	$(RUN) tools/make_reference.py $(ARGS)

bench:
	$(call ready,test)
	@for file in benchmarks/bench_*.py; do test -e "$$file" || continue; \
		echo "$$file"; $(RUN) "$$file" $(ARGS) || exit 1; done

clean:  # all that the targets above leave behind; the next one sets up anew
	rm -rf "$(VENV)" build dist out *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
