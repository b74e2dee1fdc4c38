# Everything a contributor runs. Each target sets up what it needs, once: `make help` lists them.

PYTHON := .venv/bin/python
STAMP := .venv/edgecanary-stamp
TESTS ?= tests
ARGS ?=
WORKERS ?= 3
MINUTES ?= 28

export PYTHONPATH := $(CURDIR)/hack
export PYTHONUNBUFFERED := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets.
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' Makefile

.PHONY: setup
setup: $(STAMP) ## Make .venv from uv.lock (every other target does it by itself).

$(STAMP): uv.lock pyproject.toml hack/bootstrap.py
	@python3 hack/bootstrap.py

.PHONY: tools
tools: $(STAMP) ## Get kube-apiserver, etcd, kubectl, helm and Prometheus, and show where they are.
	@$(PYTHON) -m edgelab.tools

.PHONY: have-tools
have-tools: $(STAMP)
	@$(PYTHON) -m edgelab.tools > /dev/null

.PHONY: demo
demo: have-tools ## The whole story on real parts, about 5 minutes; KEEP=1 leaves it running.
	@$(PYTHON) -m edgelab.demo $(if $(KEEP),--keep) $(ARGS)

.PHONY: test
test: have-tools ## All tests but test-cluster. TESTS=tests/unit for a part, ARGS for pytest, WORKERS=0 for one process.
	@$(PYTHON) -m pytest $(TESTS) --ignore=tests/cluster --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: images
images: $(STAMP) ## Build the images with Docker, or buildah on a base of Debian packages; ARGS="--tag v1 --platform arm64".
	@PYTHONPATH=$(CURDIR)/operator:$(CURDIR)/hack $(PYTHON) -m edgelab.images $(ARGS)

.PHONY: cluster
cluster: $(STAMP) ## A cluster of three real nodes without Docker, until Ctrl-C; needs root. ARGS="--nodes 5".
	@PYTHONPATH=$(CURDIR)/operator:$(CURDIR)/hack $(PYTHON) -m edgelab.cluster $(ARGS)

.PHONY: cluster-down
cluster-down: $(STAMP) ## End the cluster of `make cluster`.
	@PYTHONPATH=$(CURDIR)/operator:$(CURDIR)/hack $(PYTHON) -m edgelab.cluster --down

.PHONY: test-cluster
test-cluster: have-tools ## Tests on three real nodes with the built images and helm; needs root.
	@$(PYTHON) -m pytest tests/cluster $(ARGS)

.PHONY: kind-demo
kind-demo: have-tools ## The same tests on Docker's kind, from kind-config.yaml; needs Docker and root.
	@EDGECANARY_CLUSTER=kind $(PYTHON) -m pytest tests/cluster/test_real_nodes.py --verbose $(ARGS)

.PHONY: verify
verify: check-format lint types contracts links generated site changelog ## All checks that run nothing.
	@echo "verify: all checks passed"

.PHONY: check-format
check-format: $(STAMP) ## Is everything formatted?
	@echo "format"
	@.venv/bin/ruff format --check --quiet . || { echo "To fix it: make format" >&2; exit 1; }

.PHONY: lint
lint: $(STAMP) ## ruff.
	@echo "lint"
	@.venv/bin/ruff check --quiet .

.PHONY: types
types: $(STAMP) ## mypy, strict, for code and tests.
	@echo "types"
	@$(PYTHON) -m mypy

.PHONY: contracts
contracts: $(STAMP) ## import-linter: which layer may import which.
	@echo "contracts"
	@.venv/bin/lint-imports --no-logo

.PHONY: links
links: $(STAMP) ## Dead links, anchors and file names in the documentation.
	@echo "links"
	@$(PYTHON) hack/check_links.py

.PHONY: generated
generated: $(STAMP) ## Are crds/, config/ and docs/reference/ what the API types and the chart say?
	@echo "generated files"
	@$(PYTHON) hack/generate.py --check

.PHONY: site
site: $(STAMP) ## Build the documentation site into site/, every link and anchor checked.
	@echo "site"
	@NO_MKDOCS_2_WARNING=1 $(PYTHON) -m mkdocs build --strict --quiet

.PHONY: release
release: have-tools ## Build packages, chart, manifest and images into dist/ and check each; publishes nothing. ARGS=--no-images.
	@$(PYTHON) hack/release.py $(ARGS)

.PHONY: changelog
changelog: $(STAMP) ## Can the change log be built from its fragments?
	@echo "change log"
	@words=$$($(PYTHON) -m towncrier build --draft --version next 2>&1) || { echo "$$words" >&2; exit 1; }

.PHONY: bench
bench: have-tools ## Measure, and write docs/benchmarks.md.
	@$(PYTHON) benchmarks/run.py $(ARGS)

.PHONY: bench-agent
bench-agent: $(STAMP) ## Measure the agent's serving beside other servers, and write docs/benchmarks-agent.md; about 8 minutes.
	@$(PYTHON) benchmarks/serving/run.py $(ARGS)

.PHONY: mutants
mutants: $(STAMP) ## Break the planner and the gates line by line: which tests notice? Takes hours; ARGS=rollout/rank.py for a part.
	@$(PYTHON) hack/mutants.py $(ARGS)

.PHONY: bench-gates
bench-gates: $(STAMP) ## Judge the gates on seeded traces, and write docs/benchmarks-gates.md; about 40 minutes.
	@OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 $(PYTHON) benchmarks/gates/run.py $(ARGS)

.PHONY: fuzz
fuzz: $(STAMP) ## Fuzz all that comes over a wire for MINUTES (default 28), and write docs/guides/fuzzing.md.
	@PYTHONPATH=$(CURDIR)/operator:$(CURDIR)/hack $(PYTHON) -m tests.fuzz.run --minutes $(MINUTES) --write $(ARGS)

.PHONY: generate
generate: $(STAMP) ## Write crds/, config/ and docs/reference/ from the API types and the chart.
	@$(PYTHON) hack/generate.py

.PHONY: screenshots
screenshots: have-tools ## Write the pictures of docs/guides/monitoring.md, from a real fleet; needs Chromium, about 5 minutes.
	@$(PYTHON) -m dashboards.pictures

.PHONY: format
format: $(STAMP) ## Format the code and fix what ruff can fix.
	@.venv/bin/ruff check --fix --quiet . || true
	@.venv/bin/ruff format --quiet .

.PHONY: clean
clean: ## Remove what was made in this checkout; the cache folder stays.
	rm -rf .venv .logs .fuzz site .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache dist demo-report.json
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
