#!/usr/bin/env bash
# Runs each fuzz target on its stored corpus with the stable compiler, for 5 seconds or `fuzz.sh SECONDS`.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

seconds=${1:-5}
choose_toolchain || die "no Rust toolchain can build wasm: run scripts/setup.sh test"
# The flags of `cargo fuzz` for coverage without a sanitizer, because the code under test has no unsafe code.
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table -Cllvm-args=-sanitizer-coverage-trace-compares --cfg=fuzzing -Cdebug-assertions -Ccodegen-units=1"
RUSTFLAGS=$(echo $coverage) cargo build --quiet --release --locked --manifest-path fuzz/Cargo.toml --target-dir target/fuzz \
  --target "$(rustc -vV | sed -n 's/^host: //p')"
for target in frame command session; do
  say "Fuzzing $target for $seconds s"
  # New inputs are written to another folder; the stored corpus is changed only by hand.
  mkdir -p "target/fuzz/found/$target"
  log=target/fuzz/$target.log
  target/fuzz/*/release/$target -max_total_time="$seconds" -artifact_prefix="target/fuzz/$target-" -verbosity=0 -print_final_stats=1 \
    "target/fuzz/found/$target" "fuzz/corpus/$target" >"$log" 2>&1 || { tail -n 30 "$log" >&2; die "fuzzing $target found a bug; the input is in target/fuzz/$target-*"; }
  grep -h 'stat::number_of_executed_units' "$log" >&2
done
