#!/usr/bin/env bash
# Builds the documentation from docs/src to target/docs.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh docs
mdbook build docs --dest-dir "$ROOT/target/docs"
say "Open target/docs/index.html"
