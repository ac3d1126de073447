# Every check and every way to try Portcullis. `make` lists them; CONTRIBUTING.md says more.

CARGO ?= cargo
# one story of the whole-system tests: make e2e STORY=first_session
STORY ?=
# make fuzz SECONDS=180 PROTOCOL=postgres TARGET=rows: how long each fuzz target runs, and of which protocol, and which
# one alone
SECONDS ?= 30
PROTOCOL ?= postgres kubernetes ssh
TARGET ?=
# Without Go the tests that need a cluster are skipped; in CI they fail, and say so.
NODE = if command -v go >/dev/null; then ./target/debug/cluster build; fi

.DEFAULT_GOAL := help
.PHONY: help demo up down cluster-up cluster-down images static test lint unit e2e fuzz profile bench bench-operator docs generate packages

help: ## This list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## An agent's day with the real psql, PostgreSQL and gateway, each step checked
	@.ci/packages demo
	@$(CARGO) build -p proxy -p portcullis -p e2e --bins
	@./target/debug/demo run

up: ## The demo's gateway and PostgreSQL, left running; prints a psql line to paste
	@.ci/packages demo
	@$(CARGO) build -p proxy -p portcullis -p e2e --bins
	@./target/debug/demo up

down: ## Stops what `make up` left running
	@$(CARGO) build -q -p e2e --bin demo
	@./target/debug/demo down

cluster-up: packages ## A real one-node Kubernetes, left running, without a container engine; needs Go and root
	@$(CARGO) build -p e2e --bin cluster
	@./target/debug/cluster up

cluster-down: ## Stops what `make cluster-up` left running
	@$(CARGO) build -q -p e2e --bin cluster
	@./target/debug/cluster down

images: packages static ## The images of the gateway and the operator, in target/images/, without a container engine
	@$(CARGO) build -q -p e2e --bin cluster
	@./target/debug/cluster images --programs target/$(STATIC)/release

# Programs that need nothing but themselves, for images from scratch. Where they are built stays out of them.
STATIC = $(shell uname -m)-unknown-linux-gnu
CARGO_HOME ?= $(HOME)/.cargo
PROGRAMS = -p proxy -p operator
# PROFILE=FILE, what `make profile` wrote of the same PROGRAMS: what one needs of a crate changes its names.
PROFILE ?=
OPTIMISED = $(if $(PROFILE),-C profile-use=$(abspath $(PROFILE)))
static: # no packages: the Containerfile brings its own
	RUSTFLAGS="-C target-feature=+crt-static -C strip=debuginfo $(OPTIMISED) \
		--remap-path-prefix=$(CURDIR)=/src --remap-path-prefix=$(CARGO_HOME)=/cargo" \
	CFLAGS="-ffile-prefix-map=$(CURDIR)=/src -ffile-prefix-map=$(CARGO_HOME)=/cargo" \
	$(CARGO) build --release --locked --target $(STATIC) $(PROGRAMS) --bins

test: lint ## Every check and every test
	@.ci/packages
# `cargo test` builds the binary of a package only for that package's own tests
	$(CARGO) build --workspace --bins
	@$(NODE)
	$(CARGO) test --workspace

lint: packages ## Formatting and lints
	$(CARGO) fmt --all --check
	$(CARGO) clippy --workspace --all-targets -- -D warnings

unit: packages ## Unit, golden, property and wire tests
	$(CARGO) test --workspace --exclude e2e

e2e: packages ## Whole-system stories with real clients and servers; STORY=name runs one
	$(CARGO) build -p proxy -p portcullis -p operator -p e2e --bins
	@$(NODE)
	$(CARGO) test -p e2e $(STORY)

fuzz: packages ## Fuzzes the protocols; SECONDS=30 for each target, PROTOCOL=name TARGET=name runs one
	for one in $(PROTOCOL); do CARGO="$(CARGO)" .ci/fuzz $$one $(SECONDS) $(TARGET) || exit; done

# rustup component add llvm-tools: what rustc's profiles are merged with has to be as new as rustc
PROFDATA = $(shell rustc --print target-libdir)/../bin/llvm-profdata
PROFILING = target/profile
profile: packages ## What the gateway does at work, for builds with PROFILE=target/profile/proxy.profdata
	@test -x $(PROFDATA) || { echo "llvm-profdata is missing; install it and try again: rustup component add llvm-tools" >&2; exit 1; }
	RUSTFLAGS="-C profile-generate" $(CARGO) build --release --locked --target $(STATIC) --target-dir $(PROFILING) $(PROGRAMS)
	$(CARGO) build -p proxy -p portcullis -p e2e --bins
	rm -rf $(PROFILING)/raw
	PORTCULLIS_PROXY=$(CURDIR)/$(PROFILING)/$(STATIC)/release/portcullis-proxy \
	LLVM_PROFILE_FILE=$(CURDIR)/$(PROFILING)/raw/%p.profraw ./target/debug/bench --quick transactions bulk ssh
	$(PROFDATA) merge -o $(PROFILING)/proxy.profdata $(PROFILING)/raw

bench: packages ## Ratios against a direct connection and PgBouncer, in one run; PROFILE=FILE as above
	$(CARGO) build --release -p proxy -p portcullis -p e2e
	$(CARGO) build --release -p proxy-audit --example spool_fill
ifneq ($(PROFILE),)
	@$(MAKE) --no-print-directory static
	PORTCULLIS_PROXY=$(CURDIR)/target/$(STATIC)/release/portcullis-proxy ./target/release/bench
else
	./target/release/bench
endif

# rounds of make bench-operator
ROUNDS ?= 100
bench-operator: packages ## What the operator costs, and how fast what it promises is true, on a real cluster
	$(CARGO) build --release -p proxy -p operator -p e2e --bins
	@$(subst /debug/,/release/,$(NODE))
	PORTCULLIS_ROUNDS=$(ROUNDS) $(CARGO) test --release -p e2e --test kubernetes latency -- --nocapture --test-threads=1
	./target/release/bench-operator

docs: packages ## The API documentation, with broken links as errors
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --workspace --no-deps

generate: packages ## Writes every generated file again; review the difference
	UPDATE_GOLDEN=1 INSTA_UPDATE=always $(CARGO) test --workspace --exclude e2e

packages: # Debian packages that the build and the tests need
	@.ci/packages
