# What people run here by hand; `just` alone lists it.

_default:
    @just --list --unsorted

# Everything that must hold before a change is taken
check:
    .ci/run

# Every test, as the README says
test:
    cargo test --workspace

# The tests of one crate, of the shape of the repository: `just one assay-node --test tidy`
one *ARGS:
    cargo test -p {{ARGS}}

# The kernels' tests as 64-bit Arm code under qemu, or what cargo is told: `just arm test -p assay-engine --test vectors`
arm *ARGS:
    tests/arm/run {{ARGS}}

# Format everything
fmt:
    cargo fmt --all

# Lints and docs, without running anything
lint:
    cargo clippy --workspace --all-targets --features assay-node/foreign-clients -- -D warnings
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --lib --bins --examples

# Fuzz every target, or those named, for so many seconds each: `just fuzz 3600 gguf`
fuzz SECONDS *TARGETS:
    tests/fuzz/run {{SECONDS}} {{TARGETS}}

# The whole promise on one machine
demo *ARGS:
    cargo run --release -- demo {{ARGS}}

# Licences, advisories, bans and sources of all platforms (needs cargo-deny)
deny:
    cargo deny check

# A thousand kills of nodes at random moments, five hundred for each store of the ledger
kills:
    ASSAY_KILLS=500 cargo test -p assay-node --test flows -- --nocapture storm

# The measured claims: import, engine, models in processes, weights of calls, transfers, proofs of the log, the ledger's stores
bench:
    cargo run --release -p assay-store --example import_speed
    cargo run --release -- bench --model verifier/trainer/model/demo-q8_0.gguf --prompt 64 --generate 128
    cargo run --release -p assay-runtime --example weights
    cargo run --release -p assay-node --example model_process -- verifier/trainer/model/demo-q8_0.gguf
    cargo run --release -p assay-node --example transfers
    cargo run --release -p assay-runtime --example log_proofs
    cargo run --release -p assay-node --example stores
    cargo run --release -p assay-node --example blobs
