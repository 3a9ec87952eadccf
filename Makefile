# make demo: train a model across three emulated clouds · make test: all tests. Both set up what they need, in .venv.
#
# `make TARGET PY=python` uses an environment that you keep yourself: nothing is installed.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
SEED ?= 1
SEEDS ?= 2000
FROM ?= 0
PYTEST_ARGS ?=
JOBS ?= 2

# Redone when what to install changes; sources need no reinstall, an import rebuilds the native module.
ready := $(VENV)/.ready
ifeq ($(origin PY),command line)
ready :=
endif

# So that an import finds this environment's cmake and ninja.
export PATH := $(abspath $(dir $(shell command -v $(PY) || echo $(PY)))):$(PATH)

MINUTES ?= 30

.PHONY: help built demo test dev tidy format sim runs bench chaos asan tsan gpu wheel clean
.DELETE_ON_ERROR:

help:
	@echo "make demo    train across three emulated clouds, report in demo-out/"
	@echo "make test    all tests                 PYTEST_ARGS=... are pytest's; JOBS=0: in one process"
	@echo "make dev     editable install in .venv, rebuilt at import"
	@echo "make tidy    formats, lints, types, layers; make format mends what it can"
	@echo "make sim     one world of the simulator again: SEED=7"
	@echo "make runs    many runs of the simulator, with losses and returns: SEEDS=100000 FROM=0"
	@echo "make bench   codecs, exchange, WAN, training, scaling; report in bench-out/"
	@echo "make chaos   training under random faults, every invariant checked: MINUTES=30 SEED=1"
	@echo "make gpu     checks and times the kernels, on a machine with a device"
	@echo "make asan    the torch-free tests under ASan and UBSan; make tsan: under TSan"
	@echo "make wheel   dist/*.whl;  make clean: what make made, but for .venv"

$(VENV)/.ready: pyproject.toml constraints.txt
	.ci/prepare $(PYTHON)
	test -x $(PY) || $(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -qq -c constraints.txt scikit-build-core pybind11 cmake ninja
	$(PY) -m pip install -qq -c constraints.txt --no-build-isolation -e '.[dev]'
	touch $@

dev: $(ready)
	$(PY) -c 'import isthmus; print("isthmus", isthmus.__version__, "rebuilds itself when imported")'

demo: $(ready)
	$(PY) -m isthmus.cli demo $(DEMO_ARGS)

# The first import rebuilds the native module; then no process of a test has to look again.
built: $(ready)
	$(PY) -c 'import isthmus._core'

# Many tests wait, for processes and for emulated networks; another one computes meanwhile.
test: built
	$(PY) -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

tidy: built
	git ls-files 'csrc/*.[ch]pp' 'kernels/*.[ch]pp' | xargs -r clang-format --dry-run -Werror
	$(PY) -m ruff check
	$(PY) -m ruff format --check
	ln -sfn ../../kernels python/isthmus/kernels  # where mypy looks for isthmus.kernels
	$(PY) -m mypy
	$(PY) -m pytest -q tests/test_tidy.py

format: $(ready)
	git ls-files 'csrc/*.[ch]pp' 'kernels/*.[ch]pp' | xargs -r clang-format -i
	$(PY) -m ruff check --fix-only
	$(PY) -m ruff format

sim: $(ready)
	$(PY) -m isthmus.simulation --seed $(SEED)

runs: built
	$(PY) -m isthmus.simulation --runs --from $(FROM) --seeds $(SEEDS) $(RUNS_ARGS)

bench: $(ready)
	$(PY) -m isthmus.cli bench all $(BENCH_ARGS)

chaos: $(ready)
	$(PY) -m isthmus.cli bench chaos --minutes $(MINUTES) --seed $(SEED) $(CHAOS_ARGS)

gpu: $(ready)
	$(PY) bench/gpu.py

asan tsan: $(ready)
	.ci/sanitize $@ $(PY) $(PYTEST_ARGS)

# In the editable install's folder, with its flags: nothing is compiled twice.
wheel: $(ready)
	rm -f dist/*.whl
	$(PY) -m pip wheel -qq -c constraints.txt --no-build-isolation --no-deps -w dist \
		-C build-dir='build/editable-{cache_tag}' -C cmake.define.ISTHMUS_WERROR=ON .
	@ls dist/*.whl

clean:
	rm -rf build dist demo-out bench-out
