#!/usr/bin/env bash
# Builds Fanfare if necessary and starts it. Arguments and FANFARE_ variables are passed on. `run.sh demo` starts the demo.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

scripts/build.sh release
if [ "${1:-}" = demo ]; then exec target/release/fanfare demo; fi
say "Open http://127.0.0.1:12345 in two windows and type. Ctrl-C stops it."
say "Or:  curl -d 'hello' http://127.0.0.1:12345/api/v1/rooms/lobby/messages"
exec target/release/fanfare serve --site target/site "$@"
