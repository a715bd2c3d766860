# `make compare`: the comparison table from a fresh clone.  `make quick`: the tests without torch, under a minute.  `make test`: the tests.
# All set up .venv by themselves.
#
# On Linux without an NVIDIA driver torch comes from its CPU-only index, so that no CUDA is downloaded.
# Override with TORCH_INDEX=URL (another index), or TORCH_INDEX= (whatever pip is configured to use).

PYTHON ?= python3
VENV := .venv
PIP := $(VENV)/bin/pip
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
SETUP_FILES := pyproject.toml constraints.txt
CPU_INDEX := https://download.pytorch.org/whl/cpu
TORCH_INDEX ?= $(shell [ "$$(uname -s)" = Linux ] && ! command -v nvidia-smi >/dev/null 2>&1 && echo $(CPU_INDEX))
TORCH := $(shell grep '^torch==' constraints.txt)
PYTEST_ARGS ?=
# Test files are shared out among so many processes, with up to 2 GB each; 0: one after another.
WORKERS ?= 2
NO_BENCH := not bench and not bench_full and not browser and not chaos and not fuzz and not peers

# What needs neither torch nor a model: the reporting side and the units. Left to `make test` are simulations of many sessions, writers that
# are killed, files that unfold to gigabytes, and what loads other libraries to compare with.
QUICK_REPORT := tests/report tests/test_layers.py tests/test_readme.py tests/test_docs.py tests/test_safe_text.py
QUICK_UNITS := tests/stats tests/records tests/specs tests/test_units.py
NOT_QUICK := tests/report/compare/test_coverage.py tests/records/test_nothing_is_lost.py tests/records/test_hostile_store.py \
  tests/stats/test_evaluate_metrics.py tests/stats/test_own_metrics.py
QUICK = $(VENV)/bin/python -m pytest -m "not slow and not shared and $(NO_BENCH)" $(NOT_QUICK:%=--ignore=%)

.PHONY: compare quick quick-report quick-units test browser check setup lint types all-tests fuzz bench bench-full bench-peers chaos docs wheel lock clean

compare: $(STAMP)
	$(VENV)/bin/bertbench compare --models all

# Two halves at once, one a core; the output of each comes as a whole where make can do that (4.0 and newer).
quick: $(STAMP)
	@$(MAKE) --no-print-directory --jobs=2 --keep-going $(if $(filter output-sync,$(.FEATURES)),--output-sync) quick-report quick-units

quick-report:
	@$(QUICK) $(QUICK_REPORT) $(PYTEST_ARGS)

quick-units:
	@$(QUICK) $(QUICK_UNITS) $(PYTEST_ARGS)

test: $(STAMP)
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile -m "not slow and $(NO_BENCH)" $(PYTEST_ARGS)

# The page of `bertbench report` in a real browser: needs chromium (apt-get install chromium).
browser: $(STAMP)
	$(VENV)/bin/python -m pytest -m "browser and not bench" $(PYTEST_ARGS)

all-tests: $(STAMP)
	$(VENV)/bin/python -m pytest -m "$(NO_BENCH)" $(PYTEST_ARGS)

# Random input for everything that reads files or options, FUZZ_CASES a target, some hours at 10,000; each run takes another seed, which it prints.
FUZZ_CASES ?= 10000
FUZZ_SEED ?= $(shell date +%s)
fuzz: $(STAMP)
	@echo "FUZZ_SEED=$(FUZZ_SEED) FUZZ_CASES=$(FUZZ_CASES)"
	BERTBENCH_FUZZ_CASES=$(FUZZ_CASES) $(VENV)/bin/python -m pytest -m fuzz tests/fuzz --hypothesis-seed=$(FUZZ_SEED) $(PYTEST_ARGS)

# Bars on time and noise, at most 15 minutes; leave the machine alone meanwhile. Figures go to build/bench.txt.
bench: $(STAMP)
	$(VENV)/bin/python -m pytest -m bench tests/bench tests/report/page/test_browser.py $(PYTEST_ARGS)

# How often intervals hold the truth, over thousands of simulated sessions, and stores of up to 1,000,000 records (20 GB):
# some hours, on any machine.
bench-full: $(STAMP)
	$(VENV)/bin/python -m pytest -m bench_full tests/bench $(PYTEST_ARGS)

# Other tools beside bertbench, each in an environment of those it can live with, in build/peers; what cannot be installed is skipped.
# Half an hour with one thread on both sides (BERTBENCH_PEERS_THREADS). Figures go to build/peers.txt.
PEERS := $(notdir $(basename $(wildcard .config/peers/*.txt)))
bench-peers: $(STAMP) $(PEERS:%=build/peers/%/.tried)
	$(PIP) install --quiet --constraint constraints.txt --editable ".[peers]"
	$(VENV)/bin/python -m pytest -m peers tests/peers $(PYTEST_ARGS)

# torch first, as above. torchvision, which optimum-intel asks for though no text needs it, cannot be imported where it was made for
# another torch; transformers runs without it.
build/peers/%/.tried: .config/peers/%.txt $(STAMP)
	rm -rf $(@D)
	$$(sed -n 's/^# Interpreter: //p' $< | grep . || echo $(VENV)/bin/python) -m venv $(@D) \
	  || { echo "$*: no such interpreter, its tests are skipped" >&2; mkdir -p $(@D); }
	@! grep -q '^torch==' $< || $(@D)/bin/pip install --quiet --no-index --no-deps "$(TORCH)" 2>/dev/null \
	  || $(@D)/bin/pip install --quiet --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	@if $(@D)/bin/pip install --quiet $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) --requirement $<; then \
	  $(@D)/bin/python -c "import torchvision" 2>/dev/null || $(@D)/bin/pip uninstall --quiet --yes torchvision; \
	else echo "$*: not installed, its tests are skipped" >&2; rm -rf $(@D)/bin; fi
	touch $@

# A whole `compare` killed 1,000 times, 50 times with real training, a hub that fails, a machine asleep: some 50 minutes.
chaos: $(STAMP)
	$(VENV)/bin/python -m pytest -m chaos tests/test_chaos.py $(PYTEST_ARGS)

setup: $(STAMP)

# torch first and alone: a release that lies on this machine, else the CPU index, else what pip would take.
$(STAMP): $(SETUP_FILES)
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -c "import sys; sys.exit(sys.version_info < (3, 11))" || { echo "bertbench needs Python 3.11 or newer: make PYTHON=python3.11 …" >&2; exit 1; }
	@$(PIP) install --quiet --no-index --no-deps "$(TORCH)" 2>/dev/null \
	  || $(PIP) install --no-deps $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) "$(TORCH)"
	$(PIP) install --quiet --constraint constraints.txt --editable ".[dev]"
	touch $@

lint: $(STAMP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(STAMP)
	$(VENV)/bin/mypy

check: lint types test

# The pages of docs/ and those made from the code, as a site in build/docs; every link is checked. Not --quiet: then --strict counts no warnings.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/mkdocs build --strict --config-file .config/mkdocs.yml

$(DOCS_STAMP): $(STAMP)
	$(PIP) install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $@

wheel: $(STAMP)
	$(VENV)/bin/python -m build --wheel

# .config/requirements.lock: the hashes of what constraints.txt pins, for Linux, Python 3.11 and development. PyTorch is left out, as
# its wheel for CPUs comes from an index of its own; networkx and sympy, which only it asks for, are named.
lock: $(STAMP)
	$(PIP) install --quiet uv
	mkdir -p build && echo "torch ; python_version < '3'" > build/without-torch.txt
	printf 'networkx\nsympy\n' | $(VENV)/bin/uv pip compile --quiet --generate-hashes --no-annotate --no-header --extra dev \
	  --python-version 3.11 --python-platform x86_64-manylinux_2_28 --constraints constraints.txt \
	  --override build/without-torch.txt --output-file .config/requirements.lock pyproject.toml -

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache
