#!/usr/bin/env bash
# debian_unpack.sh SUITE FOLDER PACKAGE…: unpack packages of another Debian release, and all they need, into FOLDER.
# Nothing is installed and no script of a package runs: for a newer Python or server than the machine's own release has.
set -euo pipefail
[ $# -ge 3 ] || { echo "usage: debian_unpack.sh SUITE FOLDER PACKAGE…" >&2; exit 2; }
suite=$1 folder=$2
shift 2
[ ! -e "$folder/.ready" ] || exit 0

sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true)
mirror=$(sed -nE 's/^(URIs:|deb( \[[^]]*\])?) (https?:[^ ]*\/debian)\/?( .*)?$/\3/p' <<<"$sources" | head -1)
[ -n "$mirror" ] || { echo "debian_unpack.sh: /etc/apt names no Debian mirror, so nothing can be fetched from one" >&2; exit 2; }
keyring=$(find /usr/share/keyrings -name 'debian-archive-keyring.*' | sort | head -1)

state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir -p "$state"/{lists/partial,cache/archives/partial}
touch "$state/status"
echo "deb [signed-by=$keyring] $mirror $suite main" >"$state/sources.list"
own_state=(
    -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State="$state"
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache"
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Debug::NoLocking=1
)
echo "Fetching $* of Debian $suite …"
apt-get "${own_state[@]}" update -qq
apt-get "${own_state[@]}" install -qq -y --download-only --no-install-recommends "$@" >/dev/null

rm -rf "$folder"
mkdir -p "$folder"/usr/{bin,sbin,lib,lib64}
for name in bin sbin lib lib64; do ln -s "usr/$name" "$folder/$name"; done
for package in "$state"/cache/archives/*.deb; do
    dpkg-deb --fsys-tarfile "$package" | tar -x -C "$folder" --keep-directory-symlink
done
# What packages' scripts would have made, for a program that runs with FOLDER as its root.
mkdir -p "$folder"/{proc,dev,tmp,etc,data}
[ -e "$folder/usr/bin/sh" ] || ln -s dash "$folder/usr/bin/sh"
[ -e "$folder/etc/passwd" ] || echo 'root:x:0:0:root:/:/bin/sh' >"$folder/etc/passwd"
[ -e "$folder/etc/hosts" ] || echo '127.0.0.1 localhost' >"$folder/etc/hosts"
touch "$folder/.ready"
