#!/bin/bash
# shellcheck shell=bash
# What the tests need is made here, and only here: packages, the build, Firecracker, the image. To be sourced (`prepare program image`), or run
# (tests/prepare.sh [WHAT…]; all of it by default). What is there already is not made again.
# SMARTVM_TEST_BUILD is the build tree, and SMARTVM_TEST_CMAKE more arguments for cmake (tests/coverage.sh). Who has prepared all of it sets
# SMARTVM_TEST_PREPARED, so that the scripts it starts need not look again.

prepare_root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
export SMARTVM_TEST_BUILD=${SMARTVM_TEST_BUILD:-$prepare_root/build-tests}
export SMARTVM_TEST_BUNDLE=${SMARTVM_TEST_BUNDLE:-$SMARTVM_TEST_BUILD/image/debian-minimal}
# shellcheck source=deploy/packages.sh
. "$prepare_root/deploy/packages.sh"

# shellcheck disable=SC2154 # packages_build: deploy/packages.sh
prepare_packages=("${packages_build[@]}" check systemd nftables iproute2 iputils-ping qemu-system-x86 e2fsprogs squashfs-tools cpio lz4 zstd xz-utils
    busybox-static iptables curl jq sqlite3 python3-yaml python3-jsonschema python3-pip python3-venv unzip openssl cppcheck clang-format-14 clang-tidy-14 clang-14
    libclang-rt-14-dev procps util-linux kmod wireguard-go wireguard-tools socat nbdkit strace)

make_packages() {
    local missing
    command -v dpkg-query > /dev/null || { echo "no dpkg here: what is needed is expected to be installed"; return; }
    mapfile -t missing < <(packages_missing "${prepare_packages[@]}")
    [ ${#missing[@]} -eq 0 ] || packages_install "${missing[@]}"
}

make_program() {
    # shellcheck disable=SC2086 # several arguments
    cmake -G Ninja -S "$prepare_root" -B "$SMARTVM_TEST_BUILD" -DSMARTVM_SANITIZE=ON -DSMARTVM_FAULTS=ON ${SMARTVM_TEST_CMAKE:-} &&
        cmake --build "$SMARTVM_TEST_BUILD" -j "$(nproc)"
}

make_firecracker() {
    { command -v firecracker && command -v jailer; } > /dev/null || bash "$prepare_root/deploy/get-firecracker.sh"
}

make_image() {
    bash "$prepare_root/deploy/build-image.sh" --output "$SMARTVM_TEST_BUNDLE" --cache "$SMARTVM_TEST_BUILD/packages"
}

# One of packages, program, firecracker, image; what it says goes to $SMARTVM_TEST_BUILD/<one>.log.
prepare_one() {
    mkdir -p "$SMARTVM_TEST_BUILD" && "make_$1" > "$SMARTVM_TEST_BUILD/$1.log" 2>&1
}

# Several of them, for a script that is run by itself: the first that fails ends it, as a test that failed.
prepare() {
    local what
    [ -z "${SMARTVM_TEST_PREPARED:-}" ] || return 0
    if [ "$(id -u)" -ne 0 ]; then
        echo "run this as root" >&2
        exit 2
    fi
    for what in "$@"; do
        prepare_one "$what" && continue
        tail -n 50 "$SMARTVM_TEST_BUILD/$what.log"
        echo "FAILED to prepare: $what"
        echo "0 passed, 1 failed, 0 skipped"
        exit 1
    done
}

if [ "${BASH_SOURCE[0]}" = "$0" ]; then
    set -uo pipefail
    prepare "${@:-packages}" || exit
    [ $# -gt 0 ] || prepare program firecracker image
fi
