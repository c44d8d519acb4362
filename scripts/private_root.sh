# Programs of another release of Debian, unpacked into a root of their own; sourced by set-up-tests, whose functions it
# uses. They run through the loader of that root, so it works on other releases too, and nothing is installed.

debian_keyring=/usr/share/keyrings/debian-archive-keyring.gpg

# Downloads packages of a release and all that they need, with an apt that knows nothing of this machine's packages,
# and unpacks them into $download/root. Lists and packages are signed by Debian.
fetch_root() {
    local suite=$1 package directory
    shift
    command -v apt-get >/dev/null || fail "there is no apt-get here to fetch $1 with"
    [ -f "$debian_keyring" ] || install_packages debian-archive-keyring
    new_download
    mkdir -p "$download"/{state/lists/partial,cache/archives/partial,root}
    : >"$download/status"
    echo "deb [signed-by=$debian_keyring] http://deb.debian.org/debian $suite main" >"$download/sources.list"
    private_apt update
    private_apt --yes --download-only install "$@"
    for package in "$download"/cache/archives/*.deb; do
        dpkg-deb --extract "$package" "$download/root"
    done
    # Older releases have libraries in /lib too; here all are in one folder.
    [ ! -d "$download/root/lib" ] || cp -a "$download/root/lib/." "$download/root/usr/lib/"
    rm -rf "$download"/root/{bin,sbin,lib,lib64,etc,var,usr/sbin,usr/share} "$download"/root/usr/lib/python3*
    mkdir "$download/root/bin"
}

# apt-get with lists, states and packages of its own in $download.
private_apt() {
    DEBIAN_FRONTEND=noninteractive apt-get -qq -o Dpkg::Use-Pty=0 --no-install-recommends \
        -o Dir::State="$download/state" -o Dir::State::status="$download/status" -o Dir::Cache="$download/cache" \
        -o Dir::Etc::sourcelist="$download/sources.list" -o Dir::Etc::sourceparts=/dev/null \
        -o Dir::Etc::preferencesparts=/dev/null -o APT::Architecture=amd64 -o APT::Architectures=amd64 \
        -o APT::Sandbox::User="$(id -un)" -o Debug::NoLocking=1 "$@" >&2
}

# A script that hands arguments to the loader of a private root, with a variable in the environment.
loader_script() {
    cat <<SCRIPT
#!/bin/sh
root=\$(dirname "\$(dirname "\$(readlink -f "\$0")")")
libraries=\$root/usr/lib/x86_64-linux-gnu
${2:+export $2}
exec "\$libraries/ld-linux-x86-64.so.2" --library-path "\$libraries:\$libraries/ceph" $1
SCRIPT
}
