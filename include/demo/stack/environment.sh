#!/usr/bin/env bash
# Build the Python environment: environment.sh <venv> <lock>. Says what it does; safe to run again after a break.
set -euo pipefail

venv=$1
lock=$2

find_python() {
    local name
    for name in ${O2C_PYTHON:-} python3.11 python3.12 python3.13 python3; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            echo "$name"
            return
        fi
    done
    cat >&2 <<'MESSAGE'
No Python 3.11, 3.12 or 3.13 with venv was found.
  where: PATH
  next:  Install one of them (on Debian also python3-venv), or name it: O2C_PYTHON=/path/to/python3.12 make env
MESSAGE
    exit 1
}

# Without the stamp the last attempt did not finish; what it left cannot be trusted.
if [ ! -f "$venv/.installed" ]; then
    python=$(find_python)
    echo "Making $venv with $("$python" --version)"
    "$python" -m venv --clear "$venv"
fi

installer=$(grep -E '^uv==' "$lock")
echo "Installing $(grep -cE '^[a-z]' "$lock") packages (about a minute the first time)"
if "$venv/bin/python" -m pip install --quiet --disable-pip-version-check "$installer" &&
    UV_PYTHON_DOWNLOADS=never UV_LINK_MODE=copy "$venv/bin/uv" pip sync --quiet --compile-bytecode --python "$venv/bin/python" "$lock"; then
    :
else
    # uv reads no pip configuration, so behind a mirror that only pip knows, pip has to do it.
    echo "Installing with pip instead"
    "$venv/bin/python" -m pip install --quiet --disable-pip-version-check -r "$lock"
fi
"$venv/bin/python" -m pip check >/dev/null || "$venv/bin/python" -m pip check
