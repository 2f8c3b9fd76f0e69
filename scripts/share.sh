#!/usr/bin/env bash
# share.sh PROGRAM OUT: writes OUT, a folder for /usr or /usr/local with the shell completions and man pages of PROGRAM.
set -euo pipefail

[ $# = 2 ] || { echo "error: usage: share.sh PROGRAM OUT" >&2; exit 2; }
program=$1 out=$2/share
mkdir -p "$out/bash-completion/completions" "$out/zsh/vendor-completions" "$out/fish/vendor_completions.d"
"$program" completions bash >"$out/bash-completion/completions/fanfare"
"$program" completions zsh >"$out/zsh/vendor-completions/_fanfare"
"$program" completions fish >"$out/fish/vendor_completions.d/fanfare.fish"
"$program" man "$out/man/man1"
