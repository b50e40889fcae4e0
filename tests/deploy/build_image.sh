#!/bin/bash
# deploy/build-image.sh: its files, its manifest, its second run; and the guest boots and does as it is told.
set -uo pipefail
# shellcheck source=tests/deploy/check.inc
. "$(dirname "$0")/check.inc"
trap 'rm -rf "$work"' EXIT

script=$root/deploy/build-image.sh
image=$work/image
cache=${SMARTVM_TEST_BUILD:-$work}/packages

# shellcheck disable=SC2120 # its arguments come by way of check and refuse
build() { bash "$script" --output "$image" --cache "$cache" "$@"; }
field() { jq -r "$1" "$image/manifest.json"; }
sums() { (cd "$image" && sha256sum vmlinux initrd rootfs manifest.json); }

# shellcheck disable=SC2119
if ! build > "$work/build.log" 2>&1; then
    cat "$work/build.log"
    check "the image is built" false
    summary
    exit 1
fi
sums > "$work/sums"

for key in kernel:vmlinux rootfs:rootfs initrd:initrd; do
    file=$image/${key#*:}
    check "$key: path" test "$(field ".${key%:*}.path")" = "$file"
    check "$key: sha256" test "$(field ".${key%:*}.sha256")" = "$(sha256sum < "$file" | cut -d ' ' -f 1)"
    check "$key: size" test "$(field ".${key%:*}.size_bytes")" = "$(stat -c %s "$file")"
    check "$key: file name" test "$(field ".${key%:*}.file_name")" = "${key#*:}"
done
check "the manifest's other fields" test "$(field '[.schema_version, .bundle_id, .arch, .rootfs_type, .rootfs_is_read_only] | @csv')" \
    = '1,"debian-minimal","x86_64","squashfs",true'
check "the manifest has no field that the API does not know" test "$(field 'keys - ["schema_version", "bundle_id", "name",
    "arch", "firecracker_version", "rootfs_type", "rootfs_is_read_only", "boot_args", "kernel", "rootfs", "initrd"] | length')" = 0
check "the arguments leave root=, console=, reboot= and panic= to the VMM's driver" \
    test "$(field '.boot_args | test("root=|console=|reboot=|panic=")')" = false
check "the kernel is an ELF file for x86-64" test "$(od -A n -N 20 -t x1 "$image/vmlinux" | tr -d ' \n')" \
    = 7f454c4602010100000000000000000002003e00
check "nothing else is left there" test "$(find "$image" -mindepth 1 -printf '%f\n' | sort | tr '\n' ' ')" \
    = ".stamp initrd manifest.json rootfs vmlinux "

before=$(date +%s%N)
check "a second run succeeds" build
took=$((($(date +%s%N) - before) / 1000000))
cp "$work/check.log" "$work/second.log"
check "within a second ($took ms)" test "$took" -lt 1000
check "and says that there was nothing to do" grep -q "up to date" "$work/second.log"
touch "$work/mark"
check "built anew" build --force
check "it really was" test "$image/vmlinux" -nt "$work/mark"
check "it has the same bytes" diff "$work/sums" <(sums)
echo damage >> "$image/initrd"
check "with a damaged file" build
check "it is made whole" diff "$work/sums" <(sums)
rm "$image/rootfs"
check "with a file missing" build
check "it is made whole, too" diff "$work/sums" <(sums)
refuse "an output directory that JSON would have to quote" bash "$script" --cache "$cache" --output "$work/a\"b"
refuse "an unknown option" build --dri

# The guest, with a network of its own. The timeout is for a machine that does ten other things.
if [ "$(id -u)" -ne 0 ] || ! command -v qemu-system-x86_64 > /dev/null; then
    skip "booting: root and QEMU are needed"
    summary
    exit
fi
boot() {
    unshare --net timeout --kill-after=5 120 /usr/bin/python3 "$root/tests/deploy/boot_guest.py" "$image" "$@"
}
check "boots, serves HTTP, answers ping and the console, and obeys the power button" boot power-button network
check "obeys Ctrl-Alt-Del" boot ctrl-alt-del network
check "'poweroff' ends it; a writable ext4 root" boot poweroff ext4
check "'reboot' ends it; no network" boot reboot
check "ends when there is no root device" boot no-root
summary
