#!/bin/sh
# Fill a virtual environment as the image has it: sh tools/install_image.sh FOLDER
#
# Everything comes from the hash-checked locks; what is only needed to build stays out of FOLDER.
# GOODPUT_COMPILE=1 compiles the path of a token, which needs a C compiler.
set -eu
cd "$(dirname "$0")/.."
folder=$1
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

install() {
    # $1 the environment, then what pip is to install. Bytecode is made here, once: the image's
    # file system is read-only.
    environment=$1
    shift
    "$environment/bin/python" -m pip --disable-pip-version-check install --quiet --compile "$@"
}

python3 -m venv "$tools/venv"
install "$tools/venv" --require-hashes -r requirements/compile.txt
python3 -m venv "$folder"
install "$folder" --require-hashes -r requirements/runtime.txt
# The builder needs what the sources import, for their types; without isolation nothing else is
# fetched.
if [ "${GOODPUT_COMPILE:-0}" = 1 ]; then
    install "$tools/venv" --require-hashes -r requirements/runtime.txt
fi
"$tools/venv/bin/python" -m pip --disable-pip-version-check wheel --quiet \
    --no-deps --no-build-isolation --wheel-dir "$tools" .
install "$folder" --no-deps "$tools"/*.whl
"$folder/bin/python" -m pip --disable-pip-version-check uninstall --quiet --yes pip setuptools ||
    true
