#!/bin/sh
# Says in one line what is missing to build alexpy, and exits 1; prints nothing and exits 0 if all is there.
# Usage: tools/toolchain.sh PYTHON
set -u
python=$1

missing() {
    echo "alexpy cannot be built: $*" >&2
    exit 1
}

command -v cargo >/dev/null 2>&1 && command -v rustc >/dev/null 2>&1 ||
    missing "there is no Rust toolchain (cargo, rustc); install Rust 1.89 or newer with rustup or your package manager"
rust=$(rustc --version 2>/dev/null | sed -n 's/^rustc \([0-9]*\)\.\([0-9]*\).*/\1 \2/p')
[ -n "$rust" ] || missing "rustc does not run here ('rustc --version' failed); install Rust 1.89 or newer"
[ "${rust% *}" -gt 1 ] || [ "${rust#* }" -ge 89 ] ||
    missing "rustc is older than 1.89 (it is $(rustc --version)); update it, for example with 'rustup update'"

command -v cc >/dev/null 2>&1 ||
    missing "there is no C compiler (cc), which Rust links with; install gcc or clang (Debian: 'apt-get install gcc libc6-dev')"

command -v "$python" >/dev/null 2>&1 ||
    missing "there is no '$python' on PATH; install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3"
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null ||
    missing "'$python' is $("$python" --version 2>&1), and 3.11 or newer is needed; name a newer one: make PYTHON=/path/to/python3"
"$python" -c 'import ensurepip, venv' 2>/dev/null ||
    missing "'$python' has no venv module with pip; install it (Debian: 'apt-get install python3-venv')"
