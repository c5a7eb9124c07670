# What a developer types. `make help` lists it; README.md says how long the first time takes.
SHELL := bash
.ONESHELL:
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
PY := .venv/bin/python

.PHONY: help
help: ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

.venv/.done: requirements/dev.lock pyproject.toml
	@test -x $(PY) || python3 -m venv .venv
	@echo "installing the Python side into .venv (a minute the first time)"
	@$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements/build.lock -r requirements/dev.lock
	@$(PY) -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps -e .
	@touch $@

.PHONY: venv
venv: .venv/.done ## the Python environment

CONSOLE := operator/samply_operator/api/console/index.html

.PHONY: console
console: $(CONSOLE) ## the web console's files (needs Node.js 20 with npm)

console/node_modules/.package-lock.json: console/package.json console/package-lock.json
	@cd console && npm ci

$(CONSOLE): console/node_modules/.package-lock.json console/build.mjs console/tsconfig.json $(shell find console/src -type f)
	@cd console && npm run --silent check && npm run --silent build

.PHONY: lock
lock: ## remake the lock files from pyproject.toml (needs uv)
	@for extra in "" "--extra dev"; do
	  out=requirements/$$([ -n "$$extra" ] && echo dev || echo runtime).lock
	  uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header $$extra pyproject.toml -o $$out
	done
	@printf 'hatchling\neditables\n' | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header - -o requirements/build.lock
	@echo feldera | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header - -o requirements/sdk.lock
	@echo 'moto[server,s3]>=5.2.5' | uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header - -o requirements/moto.lock

.PHONY: check
check: venv ## formatting, lint, types, floor plan, chart
	@hack/check

.PHONY: test-unit
test-unit: venv ## what decides and what is parsed, as tables: seconds
	@$(PY) -m pytest -q tests/unit/rules tests/unit/model tests/unit/api tests/unit/store tests/unit/plugin

.PHONY: test-local
test-local: venv ## all tests without a cluster, 7 to 15 min on 2 cores
	@tests/buckets/install || echo "pip can't install moto"
	@$(PY) -m pytest -q -m 'not slow' -n $$(($$(nproc) * 3 / 2)) --dist loadfile

.PHONY: test
test: ## everything: checks, unit tests, a real cluster (30 to 45 min on 2 cores, the first time 20 to 30 more)
	@hack/test

.PHONY: test-readers
test-readers: ## what is written, read by Firefox Profiler, pprof and speedscope, as far as they can be had
	@hack/test readers

.PHONY: test-cluster
test-cluster: ## only what needs a cluster, which is started where it is down
	@hack/test cluster

.PHONY: test-kind
test-kind: ## the cluster tests and the demo on kind
	@docker info >/dev/null 2>&1 || { echo "make test-kind: no Docker engine answers (docker info). It needs one with buildx and CAP_PERFMON, such as 29, and pulls kind's node image." >&2; exit 1; }
	@SAMPLY_CLUSTER_PROVIDER=kind hack/test cluster

.PHONY: test-slow
test-slow: ## cluster tests that take minutes, which make test leaves out
	@hack/test slow

.PHONY: test-vm
test-vm: venv ## on Debian's kernel with cgroup v2 and arm64, in emulated machines: up to 40 min; with KUBECONFIG also as a node
	@$(PY) -m pytest -q tests/vm

.PHONY: demo
demo: ## from nothing to a profile on the screen (about 33 min the first time, then one)
	@hack/demo

.PHONY: clean
clean: ## undo the above: cluster down, .venv gone; built programs stay
	@hack/clean

.PHONY: distclean
distclean: ## the built programs and images too
	@hack/clean --all
