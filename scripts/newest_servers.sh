#!/usr/bin/env bash
# Unpack Debian trixie's Redis 8 and RabbitMQ 4, and all they need, into .tools/trixie, for the proofs on a machine whose
# own release is older. Nothing is installed: tests/proofs/servers.py runs them inside that folder.
set -euo pipefail
cd "$(dirname "$0")/.."
to=$PWD/.tools/trixie
[ ! -e "$to/.ready" ] || exit 0

# The machine's own mirror, whatever it is.
sources=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/*.{list,sources} 2>/dev/null || true)
mirror=$(sed -nE 's/^(URIs:|deb( \[[^]]*\])?) (https?:[^ ]*\/debian)\/?( .*)?$/\3/p' <<<"$sources" | head -1)
[ -n "$mirror" ] || { echo "newest_servers: no Debian mirror in /etc/apt: the proofs take the servers on the path" >&2; exit 2; }

state=$(mktemp -d)
trap 'rm -rf "$state"' EXIT
mkdir -p "$state"/{lists/partial,cache/archives/partial}
touch "$state/status"
keyring=$(ls /usr/share/keyrings/debian-archive-keyring.* | head -1)
echo "deb [signed-by=$keyring] $mirror trixie main" >"$state/sources.list"
private=(
    -o Dir::Etc::SourceList="$state/sources.list" -o Dir::Etc::SourceParts=- -o Dir::State="$state"
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state/cache"
    -o APT::Sandbox::User=root -o Acquire::Languages=none -o Debug::NoLocking=1
)
echo "Fetching Redis 8 and RabbitMQ 4 of Debian trixie …"
apt-get "${private[@]}" update -qq
apt-get "${private[@]}" install -qq -y --download-only --no-install-recommends \
    base-files bash coreutils dash grep procps sed redis-server rabbitmq-server >/dev/null
rm -rf "$to"
mkdir -p "$to"/usr/{bin,sbin,lib,lib64} "$to"/{proc,dev,tmp,etc}
for folder in bin sbin lib lib64; do ln -s "usr/$folder" "$to/$folder"; done
for package in "$state"/cache/archives/*.deb; do dpkg-deb --fsys-tarfile "$package" | tar -x -C "$to" --keep-directory-symlink; done
ln -sf dash "$to/usr/bin/sh"
printf 'root:x:0:0:root:/:/bin/sh\n' >"$to/etc/passwd"
printf '127.0.0.1 localhost\n' >"$to/etc/hosts"
touch "$to/.ready"
