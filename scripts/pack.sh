#!/usr/bin/env bash
# pack.sh PROGRAM SITE OUT: the program with the site's files inside, as one file that needs no other.
# The same of both gives the same bytes: the archive has no names of users, no order of a disk, and no time.
set -euo pipefail

[ $# = 3 ] || { echo "error: pack.sh takes a program, a site folder and the file to be made" >&2; exit 2; }
program=$1 site=$2 out=$3
trap 'rm -f "$out.tar" "$out.new"' EXIT
tar --create --file "$out.tar" --directory "$site" --format ustar --sort name --mtime @0 --owner 0 --group 0 --numeric-owner \
  --mode u=rwX,go=rX .
cp "$program" "$out.new"
# src/server/files/archive.rs reads this from its end: sixteen digits, and a word.
{ cat "$out.tar"; printf '%016xfanfare-site-tar' "$(stat --format %s "$out.tar")"; } >>"$out.new"
chmod 755 "$out.new"
mv "$out.new" "$out"
