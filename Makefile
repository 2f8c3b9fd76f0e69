# Every target first installs missing tools (scripts/setup.sh). If nothing is missing, that takes less than a second.
.PHONY: help run demo check test test-long watch build dist deb packages docs bench bench-nodes figures conformance clean

help: ## List all targets
	@awk -F':.*## ' '/^[a-z-]+:.*## / { printf "make %-11s %s\n", $$1, $$2 }' Makefile

run: ## Build and start Fanfare on http://127.0.0.1:12345
	@scripts/run.sh

demo: ## Build and start Fanfare on a free port, with sample rooms that fill themselves
	@scripts/run.sh demo

check: ## Run the fast checks: format, clippy, unit tests
	@scripts/test.sh check

test: ## Run all checks: format, clippy, docs, Rust, wasm, browser
	@scripts/test.sh

test-long: ## Run all checks, and those that take minutes: many clients, several nodes, long fuzzing
	@scripts/test.sh long

watch: ## Rebuild and reload on every change
	@scripts/watch.sh

build: ## Build the server and the page for release
	@scripts/build.sh release

dist: ## Build dist/: the program with its site folder, and one file with both, to copy anywhere
	@scripts/dist.sh

deb: ## Build a Debian package: dist/fanfare_….deb
	@scripts/dist.sh deb

packages: ## Build all packages into dist/ and try each: wheel, npm, crate, Debian, tarball, clients
	@scripts/packages.sh

docs: ## Build the documentation: target/docs/index.html
	@scripts/docs.sh

bench: ## Measure deliveries at the standard loads; writes a table and a plot to target/bench/
	@scripts/bench.sh

bench-nodes: ## Measure one node and three on NATS at the same load; writes a table to target/bench/
	@scripts/nodes.sh

figures: ## Measure the page: size, time to first content, many messages at once, a long log
	@scripts/figures.sh

conformance: ## Run the public WebSocket conformance suite against the server (needs PyPI)
	@scripts/conformance.sh

clean: ## Remove build output (installed tools stay)
	rm -rf target dist node_modules end2end/browser/node_modules end2end/streams/node_modules end2end/identity/node_modules
