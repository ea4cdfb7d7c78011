#!/usr/bin/env bash
# Installs a package in a Debian root (this machine's own, with all changes in an overlay that is discarded at the end),
# starts the server as its unit does, checks its health, kills it in ten calls, which go on, stops it, removes and purges
# it.
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
child_of() { tr -d ' ' <"$root/proc/$1/task/$1/children"; }
fails() { echo "FAILED: $*"; exit 1; }

within dpkg --install /b2b.deb
within dpkg --verify b2b
within b2b --version
[ -e "$root/usr/share/man/man1/b2b.1.gz" ] || fails "no manual page"
[ ! -x "$(command -v systemd-analyze)" ] || within systemd-analyze verify /usr/lib/systemd/system/b2b.service

# Like the unit: its command, an unprivileged user, and the folder that systemd creates.
command=$(sed -n 's/^ExecStart=//p' "$root/usr/lib/systemd/system/b2b.service")
within install -d -o nobody -g nogroup -m 750 /var/lib/b2b /run/b2b
sed -i '/^listen = \["udp/a trusted = ["127.0.0.0/8"]' "$root/etc/b2b/b2bua.toml"
cat >>"$root/etc/b2b/b2bua.toml" <<'END'
[[route]]
called = "2000"
to = "sip:2000@127.0.0.1:5070"
[survive]
file = "/run/b2b/calls"
size_mb = 4
END
# shellcheck disable=SC2086 # words of the command
within setpriv --reuid nobody --regid nogroup --clear-groups --no-new-privs --bounding-set=-all env -C /var/lib/b2b $command \
    >"$layers/said" 2>&1 &
started=$!
for _ in $(seq 150); do
    health=$(python3 -c 'import urllib.request as it; print(it.urlopen("http://127.0.0.1:8080/healthz").read().decode())' \
        2>/dev/null) && break
    sleep 0.2
done
[ "${health:-}" = ok ] || { cat "$layers/said"; fails "it does not serve"; }
[ -e "$root/var/lib/b2b/b2b.sqlite" ] || fails "no store below /var/lib/b2b"

within b2b load --sip-bind 127.0.0.1:5070 --callee 'answer; say mark; hung up' >"$layers/callees" 2>&1 &
callees=$!
within b2b load --target sip:2000@127.0.0.1:5060 --calls 10 --rate 10 --hold-s 5 >"$layers/calls" 2>&1 &
calls=$!
sleep 3
keeper=$(child_of $started)
kill -KILL "$(child_of "$keeper")"
wait $calls && grep -q '10 answered, 10 done, 0 failed' "$layers/calls" && grep -q 'goes on' "$layers/said" \
    || { cat "$layers/said" "$layers/calls"; fails "calls have not outlived the server"; }
grep gap "$layers/calls"
kill $callees

kill -TERM "$keeper"
wait $started || { cat "$layers/said"; fails "it ended with $?"; }

within dpkg --remove b2b
[ ! -e "$root/usr/bin/b2b" ] || fails "the program is still there"
[ -e "$root/etc/b2b/b2bua.toml" ] || fails "the configuration went with the program"
[ -e "$root/var/lib/b2b/b2b.sqlite" ] || fails "what it has stored went with the program"
within dpkg --purge b2b
left=$(find "$root/etc/b2b" "$root/var/lib/b2b" "$root/usr/share/doc/b2b" 2>/dev/null || true)
[ -z "$left" ] || fails "left behind: $left"
echo "installed, started, killed in calls, stopped, removed and purged: $(basename "$package")"
