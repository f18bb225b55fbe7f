# The menu of every task; `make` alone lists it. Whatever a target needs is installed into .venv
# first, from the hash-checked locks in requirements/, and again only when something has changed.
#
# PYTHON=python3.12  the Python to make .venv from; default: the first 3.11 to 3.14 that is found
# FOR=20s            how long the demo runs; auto is as long as its scenario takes
# ARGS='-k relay'    further arguments of the demo, of pytest, of the bench, or of verify-*
# UV_ARGS=--upgrade  further arguments of `uv pip compile` in `make lock`

FOR ?= auto
ARGS ?=
UV_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
# Stamps: which Python made .venv, and which locks have been installed since.
VENV_MADE := $(VENV)/.python
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev

# Tests start many processes that import the same modules; where this is set each compiles them anew.
unexport PYTHONDONTWRITEBYTECODE

PIP_INSTALL := $(BIN)/python -m pip --disable-pip-version-check install --quiet
# Beside what pip says, which names the cause and not the remedy.
NO_PACKAGES = { echo "make: pip could not install the packages, for the reason above: it needs a" \
	"network, or PIP_INDEX_URL with an index that can be reached; then run make again" >&2; exit 1; }
# Without isolation the build backend is the locked one and nothing unpinned is fetched.
INSTALL_PROJECT := $(PIP_INSTALL) --no-deps --no-build-isolation --editable .

# Pure code: every branch tested. tests/test_packaging.py fails when a file here is gone.
CORE := goodput_proxy/stream/*.py goodput_proxy/record.py goodput_proxy/timeline.py \
	goodput_proxy/slo.py goodput_proxy/presets.py goodput_proxy/overrides.py \
	goodput_proxy/policy.py goodput_proxy/classify.py goodput_proxy/trace.py \
	goodput_proxy/judged.py goodput_proxy/edges.py goodput_proxy/outline.py goodput_proxy/body.py \
	goodput_proxy/forwarded.py goodput_proxy/heads.py goodput_proxy/upgrades.py \
	goodput_proxy/duration.py goodput_proxy/address.py \
	goodput_proxy/live/tally.py goodput_proxy/live/window.py goodput_proxy/live/seconds.py \
	goodput_proxy/live/kept.py goodput_proxy/live/history.py goodput_proxy/live/documents.py \
	goodput_proxy/live/distribution.py goodput_proxy/live/summary.py \
	goodput_proxy/live/requestlist.py
comma := ,
empty :=
space := $(empty) $(empty)

.DEFAULT_GOAL := help
# One target after the other even under -j: the last lines are pytest's summary and the coverage.
.NOTPARALLEL:

.PHONY: help
help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1:/p' $(MAKEFILE_LIST) \
		| while IFS=: read -r target text; do printf '  make %-12s %s\n' "$$target" "$$text"; done

##### set-up

.PHONY: install
install: $(RUNTIME) ## what the proxy needs to run, into .venv

.PHONY: dev
dev: $(DEV) ## all that tests, checks and builds need, into .venv

# Made anew when there is none, when its Python is gone, or when PYTHON asks for another.
MADE_FROM := $(shell test -x $(BIN)/python && cat $(VENV_MADE) 2>/dev/null)
ifneq ($(MADE_FROM),$(or $(PYTHON),$(MADE_FROM),none))
.PHONY: $(VENV_MADE)
endif

$(VENV_MADE):
	@python=$$(sh tools/find_python.sh '$(PYTHON)') \
		&& echo "making $(VENV) with $$python" \
		&& "$$python" -m venv --clear $(VENV) \
		&& echo '$(or $(PYTHON),default)' >$@

# The project's metadata: its version stands in the package.
METADATA := pyproject.toml goodput_proxy/__init__.py

$(RUNTIME): $(VENV_MADE) requirements/runtime.txt requirements/build.txt $(METADATA)
	@echo "installing what the proxy needs into $(VENV): this takes up to a minute"
	@$(PIP_INSTALL) --require-hashes -r requirements/runtime.txt -r requirements/build.txt \
		|| $(NO_PACKAGES)
	@$(INSTALL_PROJECT)
	@touch $@

$(DEV): $(VENV_MADE) requirements/dev.txt $(METADATA)
	@echo "installing what development needs into $(VENV): this takes some minutes"
	@$(PIP_INSTALL) --require-hashes -r requirements/dev.txt || $(NO_PACKAGES)
	@$(INSTALL_PROJECT)
	@touch $(RUNTIME) $@

##### the main job

.PHONY: demo
demo: $(RUNTIME) ## watch goodput part from throughput (ARGS='--scenario overload')
	@$(BIN)/goodput-proxy demo --for $(FOR) $(ARGS)

##### checks

.PHONY: test
test: lint type coverage ## all checks and all tests; what must pass before a commit

.PHONY: lint
lint: $(DEV) ## ruff: rules and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

.PHONY: format
format: $(DEV) ## ruff: repair what can be repaired, then format
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

.PHONY: type
type: $(DEV) ## mypy --strict
	$(BIN)/mypy

.PHONY: docs
docs: $(DEV) ## write the generated parts of docs/ anew
	$(BIN)/python tools/docs.py

.PHONY: dashboards
dashboards: $(DEV) ## write grafana/*.json anew
	$(BIN)/python tools/dashboards

.PHONY: chart
chart: $(DEV) ## write what the chart takes over from elsewhere anew
	$(BIN)/python tools/chart.py

.PHONY: pictures
pictures: $(DEV) ## take the pictures of the live page anew (a minute; needs chromium)
	GOODPUT_PICTURES=1 $(BIN)/pytest --quiet tests/live/test_page.py -k demo

.PHONY: test-fast
test-fast: $(DEV) ## pytest up to the first failure, without coverage (ARGS=...)
	$(BIN)/pytest --exitfirst --quiet $(ARGS)

.PHONY: fuzz
fuzz: $(DEV) ## five minutes of heads that nobody has thought of
	GOODPUT_FUZZ_FACTOR=20 $(BIN)/pytest --quiet --timeout=600 tests/conformance/test_fuzz.py $(ARGS)

.PHONY: coverage
coverage: $(DEV) ## pytest, then: the pure core at 100 % of its branches, all at 95 %
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(ARGS)
	$(BIN)/coverage report --fail-under=100 --include='$(subst $(space),$(comma),$(CORE))'
	$(BIN)/coverage report --fail-under=95 --precision=1

.PHONY: verify-real
verify-real: $(DEV) ## against a real inference server (installs torch into .venv-real)
	$(BIN)/python -m tests.real.verify_real

.PHONY: verify-aiperf
verify-aiperf: $(DEV) ## beside AIPerf and vLLM's client (installs AIPerf into .venv-aiperf; ARGS=--write)
	$(BIN)/python -m tests.agreement.verify_agreement $(ARGS)

.PHONY: verify-tools
verify-tools: $(DEV) ## beside AIPerf, GuideLLM and vLLM's client (7 GB, into .venv-aiperf and .venv-guidellm)
	$(BIN)/python -m tests.loadtools.verify_tools $(ARGS)

.PHONY: soak
soak: $(DEV) ## everything at once against one proxy, for ten minutes (ARGS='--for 60 --seed 1')
	$(BIN)/python -m tests.soak $(ARGS)

.PHONY: bench-peers
bench-peers: $(DEV) ## the bench's peers from the package index, each into its own .venv-bench/
	$(BIN)/python -m bench.peers.install

.PHONY: bench
bench: $(DEV) ## CPU per streamed token, beside nginx where that is installed (ARGS=--quick)
	$(BIN)/python -m bench $(ARGS)

# A plot is worth less than a figure: without its library the page has none.
BENCH_PLOTS := .venv-bench/plots
$(BENCH_PLOTS)/.made: requirements/plots.txt $(DEV)
	@echo "installing what draws plots into $(BENCH_PLOTS)"
	@$(BIN)/python -m venv --clear $(BENCH_PLOTS) \
		&& $(BENCH_PLOTS)/bin/python -m pip --disable-pip-version-check install --quiet \
			--require-hashes -r requirements/plots.txt \
		&& touch $@ \
		|| { rm -rf $(BENCH_PLOTS); echo "there will be no plots"; }

.PHONY: bench-full
bench-full: $(DEV) $(BENCH_PLOTS)/.made ## all of the bench, 25 minutes (ARGS='--only saturation' or --quick)
	$(BIN)/python -m bench.full $(ARGS)

.PHONY: cost
cost: $(DEV) ## instructions per token and request, as the tests count them (ARGS=--write renews)
	$(BIN)/python -m tests.cost $(ARGS)

##### packaging

.PHONY: build
build: $(DEV) ## sdist and wheel, into dist/
	$(BIN)/hatchling build

# dev.txt holds all but the locking tool; the smaller locks are held to its pins, so that users
# run what the tests ran. Pins stay as they are unless pyproject.toml or UV_ARGS asks for more.
UV_COMPILE := $(BIN)/uv pip compile --quiet --no-config --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-emit-find-links \
	--custom-compile-command 'make lock' $(UV_ARGS)
.PHONY: lock
lock: $(VENV_MADE) ## write requirements/*.txt anew from pyproject.toml (UV_ARGS=--upgrade)
	@$(PIP_INSTALL) --require-hashes -r requirements/lock.txt
	$(UV_COMPILE) -o requirements/dev.txt pyproject.toml --group dev
	$(UV_COMPILE) -o requirements/runtime.txt pyproject.toml -c requirements/dev.txt
	$(UV_COMPILE) -o requirements/build.txt --group build -c requirements/dev.txt
	$(UV_COMPILE) -o requirements/compile.txt --group build --group compile -c requirements/dev.txt
	$(UV_COMPILE) --fork-strategy fewest -o requirements/plots.txt --group plots
	$(UV_COMPILE) -o requirements/lock.txt --group lock

.PHONY: clean
clean: ## remove .venv, caches and built files (but no other .venv-*)
	rm -rf $(VENV) build dist htmlcov .coverage .coverage.* .hypothesis \
		.mypy_cache .pytest_cache .ruff_cache
	find bench goodput_proxy tests -name __pycache__ -type d -exec rm -rf {} +
