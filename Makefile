# make env       the environment in .venv: Python 3.11 or newer, everything else comes from pip
# make check     ruff, mypy and the quick tests: under a minute, once mypy knows the code
# make test      every check, in two processes; make test WORKERS=8 in eight
# make portable  the tests as other processors would run them, shuffled too: half an hour
# make demo      one unbroken minute of film, out/demo.mp4

BIN := .venv/bin
STAMP := .venv/made-by-make
WORKERS ?= 2

.PHONY: env check test portable demo

env: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@for python in $(PYTHON) python3 python3.11 python3.12 python3.13 python3.14; do \
	    if $$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$python; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	    echo "longtake needs Python 3.11 or newer: install it, or name yours with make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	[ -x $(BIN)/python ] || $$found -m venv .venv
	@echo "making the environment in .venv: a few minutes the first time"
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[world,train,evaluate,dev]'
	touch $@

check: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest -m "not slow" --hypothesis-profile=quick

test: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses $(WORKERS) --dist worksteal

portable: env
	$(BIN)/python tests/matrix.py

demo: env
	mkdir -p out
	$(BIN)/longtake generate "a red car driving past snowy mountains at dawn" --seconds 60 -o out/demo.mp4 --overwrite
