#!/bin/sh
# Makes the environment that bench.py, predict.py and adapt.py run in: .venv beside this file, with numpy,
# onnxruntime and Pillow in the newest versions that this Python and board have. Nothing outside this folder changes;
# running it again does no harm. PYTHON=python3.11 ./setup.sh chooses another Python; SYSTEM_PACKAGES=1 ./setup.sh lets
# the environment see the system's own packages too, as python3-picamera2 for the camera, and takes numpy and Pillow
# from there where they are new enough: what the system has was built for those.
set -eu

here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)
venv=$here/.venv
python=${PYTHON:-python3}
packages="numpy onnxruntime Pillow"
newest=--upgrade

fail() {
    printf 'setup.sh: %s\n' "$1" >&2
    exit 1
}

works() {
    "$venv/bin/python" -c 'import numpy, onnxruntime, PIL' >/dev/null 2>&1
}

command -v "$python" >/dev/null 2>&1 ||
    fail "there is no $python; install it: sudo apt install python3 python3-venv"

"$python" -c 'import sys; sys.exit(sys.version_info < (3, 9))' ||
    fail "$("$python" -V 2>&1) is too old, 3.9 is needed; name a newer one: PYTHON=python3.11 ./setup.sh"

"$python" -c 'import struct, sys; sys.exit(struct.calcsize("P") != 8)' ||
    fail "this is a 32-bit system ($(uname -m)), and there is no onnxruntime for 32-bit ARM; install the 64-bit Raspberry Pi OS (Raspberry Pi 3 and newer, Zero 2 W)"

sees_system() { [ -z "${SYSTEM_PACKAGES:-}" ] || grep -qs 'include-system-site-packages = true' "$venv/pyvenv.cfg"; }
if [ -x "$venv/bin/python" ] && works && sees_system; then
    printf 'setup.sh: %s is ready already\n' "$venv" >&2
    exit 0
fi

"$python" -c 'import ensurepip, venv' >/dev/null 2>&1 ||
    fail "this Python has no venv module; install it: sudo apt install python3-venv"

[ -w "$here" ] || fail "no permission to write in $here; copy the folder to your home"

# A half-made environment, or one of a Python that is gone, is made anew.
"$venv/bin/python" -m pip --version >/dev/null 2>&1 || rm -rf "$venv"
if [ -n "${SYSTEM_PACKAGES:-}" ]; then
    rm -rf "$venv"
    packages="numpy>=1.22 onnxruntime Pillow>=9.1"
    newest=
    set -- --system-site-packages
else
    set --
fi
[ -d "$venv" ] || "$python" -m venv "$@" "$venv" ||
    fail "the environment $venv could not be made; see the lines above (sudo apt install python3-venv, free space: df -h)"

# Wheels only: compiling numpy on a small board takes an hour and more memory than it has.
# shellcheck disable=SC2086  # the lists are meant to split
"$venv/bin/python" -m pip install --disable-pip-version-check --only-binary=:all: $newest $packages ||
    fail "$packages could not be installed; is the network reachable, is there space (df -h), and has onnxruntime a wheel for $("$python" -V 2>&1) on $(uname -m)? A newer or older Python may have one: PYTHON=python3.11 ./setup.sh"

works || fail "$packages are installed but do not load: $("$venv/bin/python" -c 'import numpy, onnxruntime, PIL' 2>&1 | tail -n 1)"

"$venv/bin/python" -c 'import numpy, onnxruntime, PIL; print("setup.sh: ready, numpy", numpy.__version__, "onnxruntime", onnxruntime.__version__, "Pillow", PIL.__version__)' >&2
