#!/bin/sh
# SPDX-License-Identifier: MIT
# By hand, as root: does a fresh Debian 12 machine run "make test" and "make demo"? Bootstraps a Debian root,
# clones the last commit into it, lets root run the printed apt line, and an ordinary user do the rest.
#   tools/fresh-check.sh [TARGET...]        default: test demo; also demo-engines, demo-tiles, demo-iommu
#   MIRROR=URL  package mirror;  KEEP=DIR  keep the root there, and use it again next time
set -eu

# The mirror this machine uses itself, unless one is named.
MIRROR=${MIRROR:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | head -n 1)}
TOP=$(cd "$(dirname "$0")/.." && pwd)
[ "$(id -u)" -eq 0 ] || { echo "fresh-check: needs root (debootstrap, chroot)" >&2; exit 2; }
command -v debootstrap >/dev/null || { echo "fresh-check: apt-get install -y debootstrap" >&2; exit 2; }
[ $# -gt 0 ] || set -- test demo

ROOT=${KEEP:-$(mktemp -d /var/tmp/vidmm-fresh-XXXXXX)}
mkdir -p "$ROOT"
chmod 755 "$ROOT"   # it becomes the / of an ordinary user
mounted=
finish() {
    for dir in $mounted; do umount "$dir" || echo "fresh-check: still mounted: $dir" >&2; done
    # Never remove below a mount that stayed.
    [ -n "${KEEP-}" ] || grep -q " $ROOT/" /proc/mounts || rm -rf --one-file-system "$ROOT"
}
USER_HOME=/srv/tester
TREE=$USER_HOME/vidmm
trap finish EXIT
trap 'exit 130' INT TERM

[ -x "$ROOT/usr/bin/apt-get" ] || debootstrap --variant=minbase --include=ca-certificates,git,make \
    bookworm "$ROOT" "$MIRROR"
# Where this machine needs a proxy or certificates of its own, the new one does too.
cp /etc/resolv.conf "$ROOT/etc/resolv.conf"
cp -r /etc/apt/apt.conf.d/. "$ROOT/etc/apt/apt.conf.d/"
mount -t proc proc "$ROOT/proc" && mounted="$ROOT/proc"
mount -t tmpfs -o mode=1777 tmpfs "$ROOT/dev/shm" && mounted="$ROOT/dev/shm $mounted"

inside() { chroot "$ROOT" /usr/bin/env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME="$USER_HOME" "$@"; }
inside sh -c "id tester >/dev/null 2>&1 || useradd -m -d $USER_HOME -s /bin/sh tester"
rm -rf "$ROOT$TREE"
git -c safe.directory="$TOP" clone -q "$TOP" "$ROOT$TREE"
inside chown -R tester: "$TREE"

for target in "$@"; do
    echo "== fresh-check: set-up for $target, as root"
    inside sh -c "cd $TREE && tools/setup.sh $target"
    echo "== fresh-check: make $target, as an ordinary user"
    inside setpriv --reuid tester --regid tester --clear-groups \
        sh -c "cd $TREE && make $target && git status --short"
done
echo "== fresh-check: all done"
