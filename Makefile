# `make validate` and `make test` need Python 3.11 or newer and nothing else; both set up .venv on first use.
.DEFAULT_GOAL := help
VENV ?= .venv
BIN := $(VENV)/bin
# The newest Python that really starts (a version manager's shim may not).
PYTHON ?= $(shell for p in python3.14 python3.13 python3.12 python3.11 python3 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)

.PHONY: help setup validate test proofs load graders evals servers clients matrix site browser freshness sync lint bench lock clean

help: ## Name the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "%-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(BIN)/.ready ## Create .venv with the locked development dependencies

$(BIN)/.ready: requirements-dev.lock
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one, or pass PYTHON=/path/to/python3" >&2; exit 2; }
	@echo "Setting up $(VENV) with $$($(PYTHON) --version) …"
	@$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) cannot make a virtual environment; on Debian: apt install python3-venv" >&2; exit 2; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

validate: $(BIN)/.ready ## Validate the plugin; print what was inspected and how to install it
	@$(BIN)/python scripts/sync.py --check
	@$(BIN)/python scripts/validate
	@echo
	@echo "Install it from this clone (other clients: README.md):"
	@echo "  claude plugin marketplace add $(CURDIR)"
	@echo "  claude plugin install django-celery-expert@django-celery-expert"

test: $(BIN)/.ready lint ## Run every test that needs no server
	@$(BIN)/python -m pytest -n auto -m "not servers"

proofs: $(BIN)/.ready servers ## Run the proofs on private Redis, RabbitMQ and PostgreSQL servers (CHECK=1: write nothing)
	@rm -f .tools/evidence.jsonl
	@PROOFS_EVIDENCE=.tools/evidence.jsonl $(BIN)/python -m pytest -n auto tests/proofs
	@$(BIN)/python scripts/evidence.py .tools/evidence.jsonl $(if $(CHECK),--check)

load: $(BIN)/.ready servers ## Run 10,000 tasks while processes are killed and brokers restarted; write docs/data/load.json
	@LOAD_TASKS=10000 LOAD_RECORD=docs/data/load.json $(BIN)/python -m pytest -q -s tests/proofs/test_load.py::test_load

servers:
	@scripts/debian_unpack.sh trixie .tools/trixie base-files bash coreutils dash grep procps sed redis-server rabbitmq-server || \
		echo "make: going on with the servers on the path" >&2

graders: $(BIN)/.ready servers ## Grade every solution of every evaluation case on private servers (KEEP=1: ten times, for the record; CASE=points-twice: one case)
	@rm -f .tools/graders.jsonl
	@TIMES=$(if $(KEEP),10,1) GRADERS_LINES=.tools/graders.jsonl $(BIN)/python -m pytest -n auto --dist worksteal $(if $(CASE),-k "[$(CASE)-") tests/evals/graders; \
		status=$$?; $(if $(KEEP),$(BIN)/python scripts/evals keep .tools/graders.jsonl || status=1;) exit $$status

# It runs a client with your key: without RUN it names the cases and spends nothing.
evals: $(BIN)/.ready $(if $(RUN),servers) ## Name the evaluation cases, or run them (RUN="--client claude --case 'points-*'")
	@$(BIN)/python scripts/evals $(if $(RUN),run $(RUN),list)

matrix: $(BIN)/.ready ## Run the references on every pair of Celery and Django, with every Python (KEEP=1: for the site)
	@$(BIN)/python scripts/matrix.py $(if $(KEEP),--json docs/data/matrix.json)

site: $(BIN)/.ready ## Build the documentation site and serve it on http://127.0.0.1:8000 (BUILD=1: only build)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs $(if $(BUILD),build,serve) --strict --quiet

browser: $(BIN)/.ready ## Test the site in Chromium; pictures of its pages stay in .tools/screenshots
	@$(BIN)/python -m pytest -n auto tests/site/browser

freshness: $(BIN)/.ready ## Tell what newer releases change in what the references were verified on
	@$(BIN)/python scripts/freshness.py

clients: $(BIN)/.ready .tools/clients/.ready .tools/scanner/.ready ## Install, list, update and remove the skill with every real client (CHECK=1: write nothing)
	@$(BIN)/python -m pytest tests/clients -n auto --record .tools/round-trips.json
	@$(BIN)/python scripts/round_trips.py .tools/round-trips.json $(if $(CHECK),--check)

# The clients are npm packages; the lock of the outside opinions brings the Node that installs and runs them.
.tools/clients/.ready: tests/clients/package-lock.json | .tools/opinions/.ready
	@echo "Installing the clients (1 GB) …"
	@rm -rf $(@D) && mkdir -p $(@D)
	@cp tests/clients/package.json tests/clients/package-lock.json tests/clients/.npmrc $(@D)
	@cd $(@D) && PATH="$(CURDIR)/.tools/opinions/bin:$$PATH" && npm ci --silent \
		&& npm rebuild --silent --ignore-scripts=false @anthropic-ai/claude-code >/dev/null \
		|| { echo "make: npm could not install the clients; run 'npm ci' in $(@D) to see why" >&2; exit 2; }
	@touch $@

.tools/%/.ready: tests/clients/%.lock | $(BIN)/.ready
	@echo "Setting up .tools/$* …"
	@rm -rf $(@D) && $(BIN)/uv venv --quiet --python $(BIN)/python $(@D)
	@$(BIN)/uv pip install --quiet --python $(@D)/bin/python --require-hashes -r $<
	@touch $@

lint: $(BIN)/.ready ## Check style: ruff for Python, rumdl for Markdown
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/ruff format --check --quiet --isolated --line-length 100 skills/*/*.md skills/*/references/*.md
	@$(BIN)/rumdl check --quiet .

sync: $(BIN)/.ready ## Write the manifests, the plugin's copy of the skill, evals.json and the tables of sizes
	@$(BIN)/python scripts/sync.py
	@$(BIN)/python scripts/tokens.py
	@$(BIN)/python scripts/evals sync

bench: $(BIN)/.ready ## Time the validators (on TREE=path) and the audit (AGAINST=1: beside ruff, flake8 and pylint)
	@$(BIN)/python scripts/benchmark.py $(TREE)
	@$(BIN)/python scripts/benchmark_audit.py $(if $(AGAINST),--against)

LOCK := $(BIN)/uv pip compile --quiet --universal --upgrade --generate-hashes --no-annotate --custom-compile-command "make lock"
lock: $(BIN)/.ready ## Resolve the locked dependencies anew
	@$(LOCK) --group dev --python-version 3.11 --output-file requirements-dev.lock
	@$(LOCK) --group oldest --python-version 3.11 --output-file requirements-oldest.lock
	@for group in opinions scanner; do $(LOCK) --group $$group --python-version 3.11 --output-file tests/clients/$$group.lock; done
	@$(LOCK) --group bench --python-version 3.11 --output-file requirements-bench.lock

clean: ## Remove everything that can be made again
	@rm -rf $(VENV) .tools .pytest_cache .ruff_cache .rumdl_cache .hypothesis site
