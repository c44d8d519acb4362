# Installs Debian packages; sourced by the set-up scripts. Says what it does, and nothing when there is nothing to do.

say() { printf '%s: %s\n' "$(basename "$0")" "$*" >&2; }

fail() {
    say "$@"
    exit 1
}

as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif command -v sudo >/dev/null; then
        sudo "$@"
    else
        fail "this needs root: run it as root, or install sudo"
    fi
}

apt() {
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 "$@" >&2
}

# Whether apt offers a package; its lists are brought up to date when it does not.
offered() {
    apt-cache show "$1" >/dev/null 2>&1 && return
    [ -n "${lists_are_new:-}" ] || apt update
    lists_are_new=yes
    apt-cache show "$1" >/dev/null 2>&1
}

# Installs packages, each of which must be on offer.
install_packages() {
    command -v apt-get >/dev/null || fail "there is no apt-get here; install by hand: $*"
    local package
    for package in "$@"; do
        offered "$package" || fail "apt offers no package $package"
    done
    say "installing $*"
    apt install --no-install-recommends "$@" || {
        # Lists that are out of date name versions that are gone.
        apt update
        apt install --no-install-recommends "$@"
    }
}
