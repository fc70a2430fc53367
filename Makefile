# make env   the environment in .venv: Python 3.11 or newer, everything else comes from pip
# make test  every check
# make portable  the tests that compute, as other processors round: half an hour
# make demo  one unbroken minute of film, out/demo.mp4

BIN := .venv/bin
STAMP := .venv/made-by-make

.PHONY: env test portable demo

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

test: env
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/pytest

# Each line is a processor that this one can play: fewer vector units, more threads, another maker's libraries, and the
# tests in another order. What the processor has not is left out by the libraries themselves.
PROCESSORS := ATEN_CPU_CAPABILITY=default ATEN_CPU_CAPABILITY=avx2 ATEN_CPU_CAPABILITY=avx512 \
    ONEDNN_MAX_CPU_ISA=AVX2 MKL_ENABLE_INSTRUCTIONS=AVX2 LONGTAKE_THREADS=2 \
    LONGTAKE_MAKER=1 LONGTAKE_MAKER=2 LONGTAKE_SHUFFLE=1
COMPUTING := tests/models tests/training tests/evaluation tests/test_*.py

portable: env
	@failed=; for processor in $(PROCESSORS); do \
	    echo "== $$processor"; env $$processor $(BIN)/pytest -q --durations=0 --durations-min=30 $(COMPUTING) || failed="$$failed $$processor"; \
	done; \
	if [ -n "$$failed" ]; then echo "not green with:$$failed" >&2; exit 1; fi

demo: env
	mkdir -p out
	$(BIN)/longtake generate "a red car driving past snowy mountains at dawn" --seconds 60 -o out/demo.mp4 --overwrite
