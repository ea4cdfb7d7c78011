#!/usr/bin/env bash
# Installs Asterisk of Debian sid into a folder, from the mirror that this machine's apt uses: Debian 12 has no package.
# Outside of any repository; about 600 MB, two minutes.
# usage: scripts/interop/get-asterisk.sh FOLDER
set -euo pipefail
folder=$(realpath -m "${1:?a folder}")
[ "$(id -u)" -eq 0 ] || { echo "needs root"; exit 2; }
command -v debootstrap >/dev/null || { echo "debootstrap is not here"; exit 2; }
mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' 'Codename: bookworm' | sort -u | head -n 1)
[ -n "$mirror" ] || mirror=$(apt-get indextargets --format '$(SITE)' 'Created-By: Packages' | sort -u | head -n 1)
[ -x "$folder/usr/sbin/asterisk" ] && { echo "$folder has it already"; exit 0; }
debootstrap --variant=minbase sid "$folder" "$mirror"
cp /etc/apt/apt.conf.d/* "$folder/etc/apt/apt.conf.d/" 2>/dev/null || true
# Its mounts belong to this shell, and end with it.
unshare --mount --fork bash -euo pipefail -c '
    mount --bind /proc "$1/proc"
    mount --bind /dev "$1/dev"
    export DEBIAN_FRONTEND=noninteractive
    chroot "$1" apt-get update -q
    chroot "$1" apt-get install -q -y --no-install-recommends asterisk
' bash "$folder"
chroot "$folder" /usr/sbin/asterisk -V
