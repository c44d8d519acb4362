# Object stores for the tests; sourced by set-up-tests, whose functions it uses. All three are real servers:
# Ceph's radosgw (S3), s3s-fs (S3, the only one of them with conditional writes), azurite (Azure Blob).

s3s_fs_version=0.14.1
azurite_version=3.35.0
# Ceph 18 of Debian 13. Its lists and packages are signed by Debian; a file's checksum is not written down here, because
# a point release of Debian takes the place of the one before.
radosgw_suite=trixie
radosgw_version=18

fetch_radosgw() {
    local place=$1 root
    say "downloading radosgw of Debian $radosgw_suite"
    fetch_root "$radosgw_suite" radosgw libfaketime
    root=$download/root
    loader_script '"$root/usr/bin/$(basename "$0")" "$@"' >"$root/bin/radosgw"
    cp "$root/bin/radosgw" "$root/bin/radosgw-admin"
    # Runs a program whose clock is two hours ahead: two-hours-ahead PROGRAM [ARGUMENT]…
    loader_script '--preload "$libraries/faketime/libfaketime.so.1" "$@"' FAKETIME=+2h >"$root/bin/two-hours-ahead"
    chmod +x "$root"/bin/*
    publish "$root" "$place"
}

fetch_azurite() {
    local place=$1
    need_program npm npm
    say "downloading azurite $azurite_version"
    new_download
    cp "$here"/azurite/package*.json "$download"
    (cd "$download" && npm ci --silent --no-audit --no-fund --ignore-scripts >&2)
    mkdir "$download/bin"
    ln -s ../node_modules/azurite/dist/src/blob/main.js "$download/bin/azurite-blob"
    chmod +x "$download/node_modules/azurite/dist/src/blob/main.js"
    publish "$download" "$place"
    download=
}

build_s3s_fs() {
    local place=$1
    say "building s3s-fs $s3s_fs_version; this takes some minutes"
    new_download
    cargo install --quiet --locked --features binary --root "$download/root" --target-dir "$download/target" \
        "s3s-fs@$s3s_fs_version" >&2
    publish "$download/root" "$place"
}

set_up_object_stores() {
    local place
    place=$cache/radosgw-$radosgw_suite
    [ -x "$place/bin/radosgw" ] || fetch_radosgw "$place"
    link "$place" radosgw
    "$place/bin/radosgw" --version | grep -q "^ceph version $radosgw_version\." ||
        fail "radosgw is not of version $radosgw_version: $("$place/bin/radosgw" --version)"

    place=$cache/azurite-$azurite_version
    [ -x "$place/bin/azurite-blob" ] || fetch_azurite "$place"
    link "$place" azurite
    [ "$("$place/bin/azurite-blob" --version)" = "$azurite_version" ] || fail "azurite $azurite_version does not run"

    place=$cache/s3s-fs-$s3s_fs_version
    [ -x "$place/bin/s3s-fs" ] || build_s3s_fs "$place"
    link "$place" s3s-fs
    "$place/bin/s3s-fs" --version >/dev/null || fail "s3s-fs does not run"
}
