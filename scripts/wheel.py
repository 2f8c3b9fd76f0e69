#!/usr/bin/env python3
"""wheel.py PROGRAM VERSION OUT: writes a wheel into the folder OUT, which installs PROGRAM as the command `fanfare`.

The wheel has no Python code. Its tag names the processor and the oldest glibc with which the program runs. The same
input gives the same bytes.
"""

import base64
import hashlib
import re
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
# The name of the package. The command is always `fanfare`.
NAME = "fanfare"


def platform_tag(program: Path) -> str:
    """Returns the tag of the platforms on which the program runs (PEP 600)."""
    header, versions, needed = (
        subprocess.run(["readelf", option, str(program)], check=True, capture_output=True, text=True, env={"LC_ALL": "C"}).stdout
        for option in ("--file-header", "--version-info", "--dynamic")
    )
    machine = {"X86-64": "x86_64", "AArch64": "aarch64"}[re.search(r"Machine:\s+(?:Advanced Micro Devices )?(\S+)", header)[1]]

    # The libraries that every system of the tag has.
    allowed = {"libc.so.6", "libm.so.6", "libgcc_s.so.1", "libpthread.so.0", "libdl.so.2", "ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"}
    others = set(re.findall(r"Shared library: \[(.+?)\]", needed)) - allowed
    if others:
        sys.exit(f"error: {program} needs libraries that other systems may lack: {', '.join(sorted(others))}")

    glibc = max(tuple(map(int, version)) for version in re.findall(r"GLIBC_(\d+)\.(\d+)", versions))
    return f"manylinux_{glibc[0]}_{glibc[1]}_{machine}"


def main() -> None:
    program, version, out = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    tag = f"py3-none-{platform_tag(program)}"
    info = f"{NAME}-{version}.dist-info"
    metadata = (
        f"Metadata-Version: 2.1\nName: {NAME}\nVersion: {version}\n"
        "Summary: A server that gives every reader of a room the same ordered log of messages\n"
        "License: MIT\nDescription-Content-Type: text/markdown\n\n" + (ROOT / "README.md").read_text()
    )
    files = {
        f"{NAME}-{version}.data/scripts/fanfare": program.read_bytes(),
        f"{info}/METADATA": metadata.encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: fanfare\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(),
        f"{info}/LICENSE": (ROOT / "LICENSE").read_bytes(),
    }

    def digest(content: bytes) -> str:
        return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()

    record = "".join(f"{name},sha256={digest(content)},{len(content)}\n" for name, content in files.items())
    files[f"{info}/RECORD"] = (record + f"{info}/RECORD,,\n").encode()

    path = out / f"{NAME}-{version}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as wheel:
        for name, content in files.items():
            entry = zipfile.ZipInfo(name)
            entry.compress_type = zipfile.ZIP_DEFLATED
            # pip makes a regular file with this mode executable.
            entry.external_attr = (stat.S_IFREG | (0o755 if "/scripts/" in name else 0o644)) << 16
            wheel.writestr(entry, content)
    print(path)


main()
