# make demo   install, train a small model, open it up, write a report
# make test   install what the tests need and run all of them
# make fast   the tests that take no time
# make base   the library and plain PyTorch models without RecBole, on the newest packages
# make engines  the files for Ray and Spark that the documents show
# make fuzz   thousands of hostile command lines and files, others each time
# make lint   style, types, and who imports whom
# make docs   the site: guide, decisions and API, in site/
# make notebooks  run the notebooks of the guide, on the demo's runs, and store what they show
# make clean  remove everything these targets made

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
PIP := $(VENV)/bin/python -m pip install -c constraints.txt
REQUIREMENTS := setup.cfg pyproject.toml constraints.txt

.PHONY: demo test fast base engines fuzz lint docs notebooks clean browser

demo: $(VENV)/.installed
	$(VENV)/bin/recsae demo --out recsae-demo

test: $(VENV)/.installed-dev browser
	$(VENV)/bin/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder --durations 20

# On Python 3.12 and 3.13, as in `make test PYTHON=python3.13`, the tests of RecBole skip.

# Everything that needs no whole run, browser, RecBole, RecTools or further process: in under a
# minute.
fast: $(VENV)/.installed-dev
	$(VENV)/bin/python -m pytest -n $(WORKERS) -m "not (end_to_end or browser or recbole or rectools or processes)"

# RecBole holds NumPy and pandas back; whoever does not need it has newer ones. RecTools takes
# NumPy 2 with pandas 2.
BASE := .venv-base
BASE_TESTS := $(BASE)/bin/python -m pytest -n $(WORKERS) \
    -m "not (end_to_end or browser or recbole or rectools or processes)" \
    tests/recommender tests/plugins/recsae_torch tests/capture tests/sae tests/testing
base: $(BASE)/.installed
	$(BASE_TESTS)
	PYTHONPATH=$(BASE)/pandas2 $(BASE_TESTS)

# Not part of CI: half a gigabyte of packages, and Spark needs Java. What cannot be installed skips.
ENGINES := ray[data] pyspark
engines: $(BASE)/.installed
	for engine in $(ENGINES); do $(BASE)/bin/python -m pip install --quiet "$$engine" \
	    || echo "$$engine cannot be installed here: its test will skip."; done
	$(BASE)/bin/python -m pytest -rs tests/docs/test_engines.py

EXAMPLES ?= 3000
fuzz: $(VENV)/.installed-dev
	RECSAE_FUZZ=$(EXAMPLES) $(VENV)/bin/python -m pytest tests/cli/test_fuzz.py tests/cli/test_fuzz_files.py

lint: $(VENV)/.installed-dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/mypy benchmarks tests/helpers
	$(VENV)/bin/lint-imports setup.cfg

docs: $(VENV)/.installed-docs
	$(VENV)/bin/sphinx-build --quiet --fresh-env --fail-on-warning --keep-going -c docs . site
	@echo "The site: site/docs/index.html"

notebooks: $(VENV)/.installed-dev
	$(VENV)/bin/python tests/helpers/notebooks.py

clean:
	rm -rf $(VENV) $(BASE) build dist *.egg-info plugins/*.egg-info recsae-demo docs/notebooks/recsae-demo site
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp files below are written last, so that a step that failed is done again.
$(VENV)/.created:
	@$(PYTHON) -c 'import sys; v = sys.version_info; (3, 11) <= v[:2] <= (3, 13) or sys.exit( \
	    "recsae is tested on Python 3.11 to 3.13 and $(PYTHON) is Python %d.%d: " % v[:2] \
	    + "install Python 3.11 and name it, as in: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.created $(REQUIREMENTS)
	@rm -f $@
	$(PIP) -e ".[recbole]"
	@touch $@

$(BASE)/.installed: $(REQUIREMENTS)
	@rm -rf $(BASE)
	$(PYTHON) -m venv $(BASE)
	$(BASE)/bin/python -m pip install "$$(grep '^torch==' constraints.txt)" -e . hypothesis jsonschema pytest pytest-xdist
	$(BASE)/bin/python -m pip install --target $(BASE)/pandas2 --no-deps "pandas<3" pytz tzdata
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.created $(REQUIREMENTS)
	@rm -f $@
	$(PIP) -e ".[recbole,rectools,dev]"
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: $(VENV)/.installed-dev
	@rm -f $@
	$(PIP) -e ".[docs]"
	@touch $@

# The report is opened in Chromium by tests; without one they skip.
AXE := axe-core-4.14.1
browser:
	@if { command -v chromium || command -v chromium-browser || command -v google-chrome; } \
	    >/dev/null; then :; \
	elif [ "$$(id -u)" != 0 ]; then \
	    echo "The browser tests will skip: Chromium is missing, and installing it needs root."; \
	elif ! command -v apt-get >/dev/null; then \
	    echo "The browser tests will skip: Chromium is missing, and so is apt-get to install it."; \
	else \
	    echo "Installing Chromium for the browser tests."; \
	    { apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	        apt-get install -qq -y --no-install-recommends chromium; } >/dev/null \
	    || echo "The browser tests will skip: apt-get could not install Chromium."; \
	fi
	@[ -f $(VENV)/$(AXE)/package/axe.min.js ] || { mkdir -p $(VENV)/$(AXE) && cd $(VENV)/$(AXE) \
	    && npm pack --silent $(subst core-,core@,$(AXE)) >/dev/null 2>&1 && tar -xzf $(AXE).tgz; } \
	    || echo "The accessibility test will skip: npm is missing or could not fetch axe-core."
