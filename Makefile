# What a person and the CI call. `make test` is all that a fresh machine with Rust needs: it installs what tests want.
SHELL := /bin/bash
CARGO ?= cargo

.PHONY: test build lint fmt docs bless bench crash-report tools help

help: ## lists the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 16

build: ## the release binary, in target/release/flowrun
	$(CARGO) build --release --locked -p flowrun

tools: ## installs what the tests need and this machine lacks; starts no service, removes no package
	scripts/install-test-tools

test: tools ## all tests; the last line sums them
	scripts/test

lint: ## format, clippy, house rules, dependencies, documentation, generated files
	scripts/lint

fmt: ## formats the code
	$(CARGO) fmt --all

crash-report: ## kills runs in every window and at random, and prints the table of what was lost
	scripts/crash-report

docs bless: ## renews what is generated: schema, docs, consoles of examples, screens
	scripts/bless

bench: ## measures what flowrun costs beside a bare loop, xargs and ninja; prints the table of docs/performance.md
	scripts/bench
