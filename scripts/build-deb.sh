#!/usr/bin/env bash
# Builds a Debian package of b2b into target/deb: the program with all roles, the unit, an initial configuration, manual
# pages and completions; and, if the program has them, one of its symbols, for backtraces and perf. They are for this
# machine's architecture, and for its libc or a newer one.
# usage: scripts/build-deb.sh [program]
# Without a program it builds one (--release). Needs dpkg-deb and binutils.
set -euo pipefail
cd "$(dirname "$0")/.."
program=${1:-}
if [ -z "$program" ]; then
    cargo build --release --bin b2b
    program=${CARGO_TARGET_DIR:-target}/release/b2b
fi
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
architecture=$(dpkg --print-architecture)
root=$(mktemp -d) symbols=$(mktemp -d)
trap 'rm -rf "$root" "$symbols"' EXIT

install -D -m 755 -s "$program" "$root/usr/bin/b2b"
install -d "$root/usr/lib/systemd/system"
sed 's|/usr/local/bin/b2b|/usr/bin/b2b|' packaging/b2b.service >"$root/usr/lib/systemd/system/b2b.service"
install -D -m 644 packaging/b2bua.toml "$root/etc/b2b/b2bua.toml"
install -D -m 644 docs/server.md "$root/usr/share/doc/b2b/server.md"
install -d "$root/usr/share/man/man1"
"$program" man "$root/usr/share/man/man1" >/dev/null
for place in bash:bash-completion/completions/b2b zsh:zsh/vendor-completions/_b2b fish:fish/vendor_completions.d/b2b.fish; do
    install -d "$(dirname "$root/usr/share/${place#*:}")"
    "$program" completions "${place%%:*}" >"$root/usr/share/${place#*:}"
done
gzip -9n -c CHANGELOG.md >"$root/usr/share/doc/b2b/changelog.gz"
{
    echo "b2b is licensed under MIT or Apache-2.0, at your choice."
    cat LICENSE-MIT
} >"$root/usr/share/doc/b2b/copyright"
find "$root/usr/share/man" -type f -exec gzip -9n {} +
chmod -R u=rwX,go=rX "$root"

# The newest libc symbol version that the program needs.
libc=$(objdump -T "$program" | grep -o 'GLIBC_[0-9.]*' | sort -Vu | tail -n 1)
install -d "$root/DEBIAN"
install -m 755 packaging/deb/postinst packaging/deb/prerm packaging/deb/postrm "$root/DEBIAN/"
echo /etc/b2b/b2bua.toml >"$root/DEBIAN/conffiles"
cat >"$root/DEBIAN/control" <<CONTROL
Package: b2b
Version: $version
Architecture: $architecture
Maintainer: The b2b authors <b2b@b2b.invalid>
Depends: libc6 (>= ${libc#GLIBC_}), libgcc-s1
Recommends: ca-certificates
Section: comm
Priority: optional
Installed-Size: $(du -sk "$root/usr" | cut -f1)
Description: SIP server, media lab and phone
 Voice calls over SIP and RTP: a B2BUA with registrar, applications and media,
 a lab that measures whether audio gets through, a load generator and a phone.
CONTROL
out=${CARGO_TARGET_DIR:-target}/deb
mkdir -p "$out"
dpkg-deb --root-owner-group --build "$root" "$out/b2b_${version}_$architecture.deb"

# Where gdb and perf look for the symbols of a build.
id=$(readelf -n "$program" 2>/dev/null | sed -n 's/.*Build ID: //p')
if [ -n "$id" ] && objdump -h "$program" | grep -q ' \.debug_line '; then
    place=$symbols/usr/lib/debug/.build-id/${id:0:2}
    install -d "$place" "$symbols/DEBIAN"
    objcopy --only-keep-debug --compress-debug-sections "$program" "$place/${id:2}.debug"
    chmod -R u=rwX,go=rX "$symbols"
    sed -n "/^Version\|^Architecture\|^Maintainer/p; 1s/.*/Package: b2b-dbgsym/p" "$root/DEBIAN/control" >"$symbols/DEBIAN/control"
    cat >>"$symbols/DEBIAN/control" <<CONTROL
Depends: b2b (= $version)
Section: debug
Priority: optional
Installed-Size: $(du -sk "$symbols/usr" | cut -f1)
Description: symbols of b2b
 Functions and lines for backtraces and profiles of b2b.
CONTROL
    dpkg-deb --root-owner-group --build "$symbols" "$out/b2b-dbgsym_${version}_$architecture.deb"
fi
