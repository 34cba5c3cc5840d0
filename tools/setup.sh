#!/bin/sh
# SPDX-License-Identifier: MIT
# Prints the one apt-get line that a target needs on Debian 12, and runs it if packages are missing and we are
# root. Never calls sudo. NO_INSTALL=1 only checks.
# Use: tools/setup.sh build|test|demo|demo-engines|demo-tiles|demo-iommu|compare
#
# "demo" packages are wished for, not needed: without them the demonstration says so and takes another way.
set -u

BUILD="build-essential meson ninja-build pkg-config libcmocka-dev libjansson-dev python3"
TEST="clang libclang-rt-dev spin"
DEMO="intel-opencl-icd ocl-icd-libopencl1 ocl-icd-opencl-dev opencl-headers clinfo libze1 libze-dev"

case "${1-}" in
build) need=$BUILD wish= ;;
test) need="$BUILD $TEST" wish= ;;
demo) need=$BUILD wish=$DEMO ;;
demo-engines|compare) need="$BUILD gnuplot-nox" wish= ;;
demo-tiles) need="$BUILD libpng-dev" wish= ;;
demo-iommu) need="$BUILD" wish= ;;
*) echo "use: tools/setup.sh build|test|demo|demo-engines|demo-tiles|demo-iommu|compare" >&2; exit 2 ;;
esac

installed() {
    [ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_of() {
    for package in "$@"; do
        installed "$package" || printf '%s ' "$package"
    done
}

# Elsewhere than on Debian the names differ; the tools themselves are what counts.
without_dpkg() {
    for tool in cc meson ninja pkg-config python3; do
        command -v "$tool" >/dev/null || { echo "setup: missing program: $tool" >&2; exit 1; }
    done
    echo "setup: no dpkg on this machine; the programs are there, libraries are checked by the build"
    exit 0
}

install_packages() {
    export DEBIAN_FRONTEND=noninteractive
    apt-get install -y --no-install-recommends "$@" && return
    echo "setup: refreshing the package lists and trying once more"
    apt-get update && apt-get install -y --no-install-recommends "$@"
}

# shellcheck disable=SC2086 # the lists are meant to split
{
    echo "apt-get install -y --no-install-recommends" $need $wish
    command -v dpkg-query >/dev/null || without_dpkg
    lack=$(missing_of $need)
    hope=$(missing_of $wish)
    [ -z "$lack$hope" ] && { echo "setup: all of them are installed"; exit 0; }
    echo "setup: missing: $lack$hope"
    if [ -n "${NO_INSTALL-}" ]; then
        echo "setup: NO_INSTALL is set, nothing is installed"
    elif [ "$(id -u)" -ne 0 ]; then
        echo "setup: not root, nothing is installed; run the line above as root"
    else
        [ -z "$lack" ] || install_packages $lack || exit 1
        [ -z "$hope" ] || install_packages $hope || echo "setup: going on without: $hope"
        exit 0
    fi
    [ -z "$lack" ] || { echo "setup: cannot go on without: $lack" >&2; exit 1; }
}
