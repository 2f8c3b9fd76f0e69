# Every target installs what it misses first (scripts/setup.sh); done once, that takes under a second.
.PHONY: help run check test test-long watch build dist deb docs bench bench-nodes figures conformance clean

help: ## What there is
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

run: ## Build and start Fanfare on http://127.0.0.1:12345
	@scripts/run.sh

check: ## Check what takes seconds: format, clippy, unit tests
	@scripts/test.sh check

test: ## Check everything: format, clippy, docs, Rust, wasm, browser
	@scripts/test.sh

test-long: ## The same, and what takes minutes: many clients, many nodes
	@scripts/test.sh long

watch: ## Develop: rebuild and reload on every change
	@scripts/watch.sh

build: ## Build the server and the page, optimised
	@scripts/build.sh release

dist: ## Make dist/: the program and its site folder, and one file with both, to be copied anywhere
	@scripts/dist.sh

deb: ## Make a Debian package of it: dist/fanfare_….deb
	@scripts/dist.sh deb

docs: ## Make the documentation: target/docs/index.html
	@scripts/docs.sh

bench: ## Measure deliveries at the standard loads: a table and a plot in target/bench/
	@scripts/bench.sh

bench-nodes: ## Measure one node and three on NATS at the same load: a table in target/bench/
	@scripts/nodes.sh

figures: ## Measure the page: weight, first content, a flood, a long log
	@scripts/figures.sh

conformance: ## Run the public WebSocket conformance suite against the server (needs PyPI)
	@scripts/conformance.sh

clean: ## Remove what was built (installed tools stay)
	rm -rf target dist node_modules end2end/browser/node_modules
