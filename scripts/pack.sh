#!/usr/bin/env bash
# pack.sh PROGRAM SITE OUT: writes OUT, one file with the program and the site's files inside.
# The same input gives the same bytes: the archive is sorted, and has no user names and no times.
set -euo pipefail

[ $# = 3 ] || { echo "error: usage: pack.sh PROGRAM SITE OUT" >&2; exit 2; }
program=$1 site=$2 out=$3
trap 'rm -f "$out.tar" "$out.new"' EXIT
tar --create --file "$out.tar" --directory "$site" --format ustar --sort name --mtime @0 --owner 0 --group 0 --numeric-owner \
  --mode u=rwX,go=rX .
cp "$program" "$out.new"
# src/server/files/archive.rs reads this from the end of the file: the size in sixteen hexadecimal digits, and a marker.
{ cat "$out.tar"; printf '%016xfanfare-site-tar' "$(stat --format %s "$out.tar")"; } >>"$out.new"
chmod 755 "$out.new"
mv "$out.new" "$out"
