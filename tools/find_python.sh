#!/bin/sh
# Print the path of the Python that .venv is to be made from.
#
# usage: tools/find_python.sh [PYTHON]
#
# Without an argument: the distribution's Python, or the first of the usual names, that is a Python
# 3.11 to 3.14 (the versions that the locks are made for) and can make virtual environments. With
# one: that Python, if it is 3.11 or newer. Otherwise one line on standard error says what is
# missing, and the exit code is 1.
set -eu

needs="goodput-proxy needs Python 3.11 or newer"
hint="install one, or name it with: make PYTHON=/path/to/python3.11"

# Must run on any Python from 2.7 on, since its task is to say no to the old ones.
probe='
import sys
version = ".".join(str(part) for part in sys.version_info[:3])
floor, ceiling = (3, 11), (3, 15)
if sys.version_info < floor:
    state = "old"
else:
    try:
        import ensurepip, venv
        state = "ok" if sys.version_info < ceiling else "new"
    except ImportError:
        state = "bare"
print(state + " " + version + " " + sys.executable)
'

# Sets `state`, `version` and `path` of the Python $1; state is "absent" if it cannot be run.
examine() {
    answer=$("$1" -c "$probe" 2>/dev/null) || answer="absent"
    state=${answer%% *}
    rest=${answer#* }
    version=${rest%% *}
    path=${rest#* }
}

without_venv() {
    echo "$1 ($2) cannot make virtual environments: install its venv module" \
        "(Debian, Ubuntu: apt-get install python3-venv), or name another with:" \
        "make PYTHON=/path/to/python3.11" >&2
    exit 1
}

if [ -n "${1:-}" ]; then
    examine "$1"
    case $state in
        ok | new) echo "$path" ;;
        bare) without_venv "$1" "$version" ;;
        old) echo "$needs: $1 is $version" >&2 && exit 1 ;;
        *) echo "$needs: $1 cannot be run" >&2 && exit 1 ;;
    esac
    exit
fi

# Distributions build with profile-guided optimisation, pyenv and the like do not unless they are
# told to: the same code then takes up to twice the time.
distribution=""
case ":$PATH:" in
    *:/usr/bin:*) distribution=/usr/bin/python3 ;;
esac

seen=""
bare=""
for name in $distribution python3 python3.14 python3.13 python3.12 python3.11 python; do
    examine "$name"
    case $state in
        ok) echo "$path" && exit ;;
        bare) bare=${bare:-"$name $version"} ;;
        old | new) seen="$seen, $name is $version" ;;
    esac
done
[ -z "$bare" ] || without_venv "${bare% *}" "${bare#* }"
echo "$needs (up to 3.14)${seen:-", but none is on the PATH"}; $hint" >&2
exit 1
