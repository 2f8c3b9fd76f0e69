#!/usr/bin/env bash
# Makes the documentation of docs/src into target/docs.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/setup.sh docs
mdbook build docs --dest-dir "$ROOT/target/docs"
say "Open target/docs/index.html"
