#!/usr/bin/env bash
# Installs a package in a Debian root (this machine's own, with all changes in an overlay that is discarded at the end),
# starts the server as its unit does, checks its health, stops it, removes and purges it.
# usage: scripts/test-deb.sh [package]
# Needs root: it creates namespaces for mounts, processes and the network, with loopback only. The exit code is 77 if
# this machine does not support overlay file systems.
set -euo pipefail
cd "$(dirname "$0")/.."
package=$(realpath "${1:-$(ls -t "${CARGO_TARGET_DIR:-target}"/deb/b2b_*.deb | head -n 1)}")
if [ "${2:-}" != inside ]; then
    exec unshare --mount --net --pid --fork "$0" "$package" inside
fi
ip link set lo up
layers=$(mktemp -d)
mount -t tmpfs none "$layers"
mkdir "$layers/new" "$layers/work" "$layers/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$layers/new,workdir=$layers/work" "$layers/root" || exit 77
root=$layers/root
mount -t proc proc "$root/proc"
mount --bind /dev "$root/dev"
mkdir -p "$root/run" "$root/tmp"
mount -t tmpfs none "$root/run"
cp "$package" "$root/b2b.deb"
within() { chroot "$root" "$@"; }
fails() { echo "FAILED: $*"; exit 1; }

within dpkg --install /b2b.deb
within dpkg --verify b2b
within b2b --version
[ -e "$root/usr/share/man/man1/b2b.1.gz" ] || fails "no manual page"
[ ! -x "$(command -v systemd-analyze)" ] || within systemd-analyze verify /usr/lib/systemd/system/b2b.service

# Like the unit: its command, an unprivileged user, and the folder that systemd creates.
command=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/b2b.service")
within install -d -o nobody -g nogroup -m 750 /var/lib/b2b
# shellcheck disable=SC2086 # words of the command
within setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs --bounding-set=-all env -C /var/lib/b2b $command \
    >"$layers/said" 2>&1 &
for _ in $(seq 150); do
    health=$(python3 -c 'import urllib.request as it; print(it.urlopen("http://127.0.0.1:8080/healthz").read().decode())' \
        2>/dev/null) && break
    sleep 0.2
done
[ "${health:-}" = ok ] || { cat "$layers/said"; fails "it does not serve"; }
[ -e "$root/var/lib/b2b/b2b.sqlite" ] || fails "no store below /var/lib/b2b"
# The first process of that name in this PID namespace is the keeper.
within sh -c 'kill -TERM $(cat /proc/[0-9]*/stat | awk "\$2 == \"(b2b)\" { print \$1 }" | sort -n | head -n 1)'
wait $! || { cat "$layers/said"; fails "it ended with $?"; }

within dpkg --remove b2b
[ ! -e "$root/usr/bin/b2b" ] || fails "the program is still there"
[ -e "$root/etc/b2b/b2bua.toml" ] || fails "the configuration went with the program"
[ -e "$root/var/lib/b2b/b2b.sqlite" ] || fails "what it has stored went with the program"
within dpkg --purge b2b
left=$(find "$root/etc/b2b" "$root/var/lib/b2b" "$root/usr/share/doc/b2b" 2>/dev/null || true)
[ -z "$left" ] || fails "left behind: $left"
echo "installed, started, stopped, removed and purged: $(basename "$package")"
