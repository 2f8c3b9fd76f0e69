#!/usr/bin/env bash
# Starts a server and runs the public WebSocket conformance suite (AutobahnTestSuite, from PyPI) against it.
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"

SUITE=autobahntestsuite==25.10.1
folder=target/conformance
have python3 || die "python3 is missing: install it"
scripts/build.sh release
if [ ! -d "$folder/cases/testdata" ]; then
  rm -rf "$folder"
  mkdir -p "$folder"
  # Only the package itself: its dependencies are for Python 2 and are not needed for the test cases.
  python3 -m pip download --quiet --no-deps --dest "$folder" "$SUITE" || die "cannot download $SUITE from PyPI"
  python3 - "$folder" <<'PYTHON'
import glob, pathlib, sys, tarfile, zipfile
folder = pathlib.Path(sys.argv[1])
archive = glob.glob(f"{folder}/autobahntestsuite-*")[0]
if archive.endswith(".whl"):
    files = zipfile.ZipFile(archive)
    names, read = files.namelist(), files.read
else:
    files = tarfile.open(archive)
    names, read = files.getnames(), lambda name: files.extractfile(name).read()
(folder / "cases" / "testdata").mkdir(parents=True)
for name in names:
    path = pathlib.Path(name)
    if "autobahntestsuite/case/" in name and name.endswith(".py"):
        (folder / "cases" / path.name).write_bytes(read(name))
    elif "autobahntestsuite/testdata/" in name and path.suffix:
        (folder / "cases" / "testdata" / path.name).write_bytes(read(name))
PYTHON
fi
started=$(mktemp)
data=$(mktemp -d)
target/release/fanfare serve --listen 127.0.0.1:0 --ops-listen off --site target/site --data "$data" --log-level error \
  --message-rate 0 --connect-rate 0 --max-message 16MiB --compression on >"$started" &
server=$!
trap 'kill "$server"; rm -rf "$started" "$data"' EXIT
until grep -q '^listening on' "$started"; do kill -0 "$server" || die "the server did not start"; done
python3 scripts/conformance.py "$folder/cases" "$(sed -n 's#^listening on http://##p' "$started")"
