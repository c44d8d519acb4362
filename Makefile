# `make help` lists what there is. Each target does its own set-up on a Debian or Ubuntu machine with Rust.
.PHONY: help check test soak demo bench

CARGO_DENY_VERSION := 0.20.2
# What `make bench` does; for example: make bench BENCH='--quick --only pgstow,pg_dump-Fc'
BENCH ?= --report docs/performance.md

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

check: ## the static gate: format, lints, documentation, licences, layering
	cargo fmt --all --check
	scripts/check-layers
	cargo clippy --workspace --all-targets --locked -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps --locked
	cargo deny --version 2>/dev/null | grep -qx 'cargo-deny $(CARGO_DENY_VERSION)' || \
		cargo install --quiet --locked cargo-deny@$(CARGO_DENY_VERSION)
	cargo deny --locked check bans licenses sources

test: ## all tests, on PostgreSQL 13 to 18 (installs what they need)
	scripts/set-up-tests
	cargo test --workspace --locked --no-fail-fast

soak: ## random writes against incremental backups, and runs killed at random, PGSTOW_SOAK_MINUTES (10) long each
	scripts/set-up-tests
	cargo test --release --locked -p pgstow-core --test incremental -- --ignored --nocapture soak::
	cargo test --release --locked -p pgstow-core --test repository -- --ignored --nocapture storm::soak

demo: ## back up and restore a sample shop on a throw-away server (installs what it needs)
	scripts/set-up-demo
	cargo run --release --locked --quiet -- demo

bench: ## measure against pg_dump and others, and write docs/performance.md (installs what it needs; takes an hour or two)
	scripts/set-up-bench
	cargo build --release --locked --quiet -p pgstow -p pgstow-bench
	cargo run --release --locked --quiet -p pgstow-bench -- $(BENCH)
