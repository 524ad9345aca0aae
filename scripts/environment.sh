# The set-up that scripts/run, scripts/test and .ci/run share; sourced, not run.
#
# prepare ""      what the engine needs      prepare "[dev]"      that and what its tests need
#
# Makes .venv in the checkout and installs the pinned packages, once: again only when what decides has changed.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." && pwd -P)
venv=$root/.venv

fail() {
    printf 'triplegain: %s\n' "$*" >&2
    exit 2
}

is_recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; }

find_python() {
    local candidate
    if [ -n "${PYTHON:-}" ]; then
        is_recent "$PYTHON" || fail "PYTHON=$PYTHON does not run, or is older than Python 3.11; name a newer one"
        printf '%s\n' "$PYTHON"
        return
    fi
    for candidate in python3 python3.11 python3.12 python3.13 python3.14 python; do
        if is_recent "$candidate"; then
            printf '%s\n' "$candidate"
            return
        fi
    done
    fail "Python 3.11 or newer is needed and none was found; install it, or name it: PYTHON=/path/to/python3.11"
}

# What decides whether an installation is still right: the requirements, their versions, and where we are.
# A changed PYTHON counts too; without one, any recent Python that is already in .venv stays.
wanted() {
    printf '%s\n%s\n' "$root" "${PYTHON:-any}"
    cat "$root/setup.cfg" "$root/pyproject.toml" "$root/constraints.txt"
}

# With the tests' packages the engine's are there as well.
is_prepared() {
    local stamp
    is_recent "$venv/bin/python" || return 1
    for stamp in "$venv/installed$1" "$venv/installed[dev]"; do
        if [ -f "$stamp" ] && wanted | cmp -s - "$stamp"; then return 0; fi
    done
    return 1
}

install_into_venv() {
    local python
    python=$(find_python) || exit
    printf 'triplegain: installing into %s (once; a minute or two) ...\n' "$venv" >&2
    rm -f "$venv"/installed*
    "$python" -m venv --clear "$venv" >&2 ||
        fail "$python cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv"
    (cd "$root" && "$venv/bin/python" -m pip install --disable-pip-version-check --progress-bar off \
        -c constraints.txt -e ".$1") >"$venv/install.log" 2>&1 || {
        tail -n 12 "$venv/install.log" >&2
        fail "the packages could not be installed; pip's last words are above, all of them in $venv/install.log"
    }
    wanted >"$venv/installed.new" && mv "$venv/installed.new" "$venv/installed$1"
}

prepare() {
    is_prepared "$1" && return
    # Two at once: the second waits, then finds everything done. The lock is on a file that is always there.
    exec 9<"$root/setup.cfg"
    if command -v flock >/dev/null 2>&1; then flock 9; fi
    is_prepared "$1" || install_into_venv "$1"
    exec 9<&-
}
