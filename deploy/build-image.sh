#!/bin/bash
# Makes the image bundle "debian-minimal" from Debian packages alone: the cloud kernel, an initrd with busybox and the
# modules of a microVM, and a small read-only root file system that serves HTTP and a shell on the console.
# The same packages give the same bytes. A second run finds that nothing changed, and ends.
set -euo pipefail

usage() {
    cat << 'TEXT'
usage: build-image.sh [--output DIR] [--cache DIR] [--force]

  --output DIR  where the bundle goes: manifest.json, vmlinux, initrd, rootfs
                (default: /var/lib/smartvm-images/debian-minimal)
  --cache DIR   where downloaded packages are kept (default: /var/cache/smartvm/packages)
  --force       build even when the bundle is there; this also takes up a newer kernel package
TEXT
}

here=$(dirname "$(readlink -f "$0")")

output=/var/lib/smartvm-images/debian-minimal
cache=/var/cache/smartvm/packages
force=no
boot_args=quiet
modules=(drivers/virtio/virtio_ring drivers/virtio/virtio drivers/virtio/virtio_mmio drivers/block/virtio_blk
    net/core/failover drivers/net/net_failover drivers/net/virtio_net fs/squashfs/squashfs
    drivers/input/evdev drivers/acpi/button)

fail() {
    echo "build-image: $1" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --output | --cache)
            [ $# -ge 2 ] || fail "$1 needs a directory"
            if [ "$1" = --output ]; then output=$2; else cache=$2; fi
            shift
            ;;
        --force) force=yes ;;
        -h | --help)
            usage
            exit 0
            ;;
        *)
            usage >&2
            exit 2
            ;;
    esac
    shift
done
mkdir -p "$output"
output=$(readlink -f "$output")

# The stamp names what the bundle was made by and what came out, so a changed script or a damaged file means a new build.
recipe=$(cat "$here/build-image.sh" "$here/image/"* | sha256sum | cut -d ' ' -f 1)
up_to_date() {
    [ "$force" = no ] && [ "$(head -n 1 "$output/.stamp" 2> /dev/null)" = "recipe $recipe $output" ] &&
        (cd "$output" && tail -n +2 .stamp | sha256sum --check --status --strict 2> /dev/null)
}
if up_to_date; then
    echo "build-image: $output is up to date"
    exit 0
fi

missing=()
for tool in lz4:lz4 cpio:cpio mksquashfs:squashfs-tools dpkg-deb:dpkg apt-get:apt; do
    command -v "${tool%:*}" > /dev/null || missing+=("${tool#*:}")
done
[ ${#missing[@]} -eq 0 ] || fail "missing packages; install them with: apt-get install ${missing[*]}"
[ "$(dpkg --print-architecture)" = amd64 ] || fail "only amd64 is supported, this is $(dpkg --print-architecture)"

work=$(mktemp -d "$output/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Prints the path of the package's file, downloaded unless it is in the cache. apt checks it against Debian's signature.
fetch_package() {
    local candidate
    candidate=$(apt-cache policy "$1" | sed -n 's/^  Candidate: //p')
    if ! (cd "$cache" && apt-get -q -o APT::Sandbox::User=root download "$1=$candidate" > "$work/apt.log" 2>&1); then
        cat "$work/apt.log" >&2
        fail "apt cannot download $1; is the package list old? Try: apt-get update"
    fi
    # apt writes the colon of an epoch as %3a.
    echo "$cache/${1}_${candidate/:/%3a}_amd64.deb"
}

# The number of $3 bytes at the offset $2 of the file $1, little-endian.
number_at() {
    od -A n -j "$2" -N "$3" -t "u$3" "$1" | tr -d ' '
}

# Takes the ELF out of a bzImage: VMMs load that, and need not unpack it at each boot. The fields are those of
# Documentation/arch/x86/boot.rst; the payload's last 4 bytes are its size when unpacked.
extract_vmlinux() {
    local setup offset length
    setup=$(number_at "$1" $((0x1f1)) 1)
    offset=$(((setup + 1) * 512 + $(number_at "$1" $((0x248)) 4)))
    length=$(number_at "$1" $((0x24c)) 4)
    dd if="$1" iflag=skip_bytes,count_bytes skip="$offset" count=$((length - 4)) bs=1M status=none | lz4 -dcq > "$2" ||
        fail "the kernel's payload is not LZ4"
    [ "$(stat -c %s "$2")" = "$(number_at "$1" $((offset + length - 4)) 4)" ] || fail "the kernel was cut short"
    [ "$(head -c 4 "$2" | tail -c 3)" = ELF ] || fail "the kernel's payload is not an ELF file"
}

make_initrd() {
    local tree=$work/initrd
    mkdir -p "$tree"/{bin,dev,proc,sys,modules,root}
    cp "$busybox" "$tree/bin/busybox"
    ln -s busybox "$tree/bin/sh"
    install -m 755 "$here/image/initrd-init" "$tree/init"
    for module in "${modules[@]}"; do
        cp "$modules_dir/$module.ko" "$tree/modules/"
    done
    find "$tree" -exec touch -h -d @0 {} +
    # Unpacked: a guest's first seconds are dear, a megabyte on the host is not.
    (cd "$tree" && find . | sort | cpio -o -H newc -R 0:0 --reproducible --quiet) > "$work/out/initrd"
}

# The applet wget gets the name wgeu, in the sorted list of names, so that the shell finds image/wget instead, which says why.
rename_wget() {
    [ "$(grep -c -a -P '\x00wget\x00which\x00' "$1")" = 1 ] || fail "busybox has no list of applets with wget before which"
    sed -i 's/\x00wget\x00which\x00/\x00wgeu\x00which\x00/' "$1"
    [ "$(stat -c %s "$1")" = "$(stat -c %s "$busybox")" ] || fail "busybox was damaged"
}

make_rootfs() {
    local tree=$work/rootfs
    mkdir -p "$tree"/{bin,sbin,dev,proc,sys,run,tmp,root,etc/acpi/PWRF,var}
    cp "$busybox" "$tree/bin/busybox"
    rename_wget "$tree/bin/busybox"
    install -m 755 "$here/image/wget" "$tree/bin/wget"
    ln -s busybox "$tree/bin/sh"
    ln -s ../bin/busybox "$tree/sbin/init"
    ln -s ../run "$tree/var/run"
    install -m 755 "$here/image/rc" "$here/image/off" "$here/image/down" "$tree/etc/"
    install -m 644 "$here/image/inittab" "$here/image/profile" "$tree/etc/"
    # What acpid runs for the power button.
    ln -s ../../off "$tree/etc/acpi/PWRF/00000080"
    echo root:x:0:0:root:/root:/bin/sh > "$tree/etc/passwd"
    echo root:x:0: > "$tree/etc/group"
    echo 127.0.0.1 localhost > "$tree/etc/hosts"
    # The root file system is read-only; image/rc writes it from what the kernel is told.
    ln -s ../run/resolv.conf "$tree/etc/resolv.conf"
    echo hosts: files dns > "$tree/etc/nsswitch.conf"
    mksquashfs "$tree" "$work/out/rootfs" -all-root -noappend -no-xattrs -no-progress -quiet -comp lz4 \
        -mkfs-time 0 -all-time 0 > "$work/mksquashfs.log" 2>&1 || {
        cat "$work/mksquashfs.log" >&2
        fail "mksquashfs failed"
    }
}

# A member of the manifest. Both names were given here, so neither needs quoting for JSON; the directory is checked below.
manifest_file() {
    printf '  "%s": {"path": "%s", "sha256": "%s", "size_bytes": %s, "file_name": "%s"}' "$1" "$output/$2" \
        "$(sha256sum "$work/out/$2" | cut -d ' ' -f 1)" "$(stat -c %s "$work/out/$2")" "$2"
}

make_manifest() {
    cat << JSON
{
  "schema_version": 1,
  "bundle_id": "debian-minimal",
  "name": "Debian cloud kernel $version with busybox",
  "arch": "x86_64",
  "rootfs_type": "squashfs",
  "rootfs_is_read_only": true,
  "boot_args": "$boot_args",
$(manifest_file kernel vmlinux),
$(manifest_file rootfs rootfs),
$(manifest_file initrd initrd)
}
JSON
}

case $output in
    *[!A-Za-z0-9/._+-]*) fail "the output directory may have only letters, digits and / . _ + - in its path: $output" ;;
esac
mkdir -p "$cache" "$work/out"
cache=$(readlink -f "$cache")

kernel_package=$(apt-cache depends --important linux-image-cloud-amd64 2> "$work/apt.log" |
    sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
[ -n "$kernel_package" ] || fail "apt does not know linux-image-cloud-amd64; try: apt-get update"
version=${kernel_package#linux-image-}

kernel_deb=$(fetch_package "$kernel_package")
busybox_deb=$(fetch_package busybox-static)
dpkg-deb --fsys-tarfile "$busybox_deb" | tar -x -C "$work" ./bin/busybox
# tar reads the archive once, and of some 4,000 modules only these are written.
members=("./boot/vmlinuz-$version")
for module in "${modules[@]}"; do
    members+=("./lib/modules/$version/kernel/$module.ko")
done
dpkg-deb --fsys-tarfile "$kernel_deb" | tar -x -C "$work" "${members[@]}"
busybox=$work/bin/busybox
modules_dir=$work/lib/modules/$version/kernel

extract_vmlinux "$work/boot/vmlinuz-$version" "$work/out/vmlinux"
make_initrd
make_rootfs
make_manifest > "$work/out/manifest.json"

# The manifest comes last: whoever reads it finds the files that it names.
rm -f "$output/.stamp"
for file in vmlinux initrd rootfs manifest.json; do
    chmod 644 "$work/out/$file"
    mv -f "$work/out/$file" "$output/$file"
done
(
    cd "$output"
    echo "recipe $recipe $output"
    sha256sum vmlinux initrd rootfs manifest.json
) > "$work/stamp"
mv "$work/stamp" "$output/.stamp"
echo "build-image: made $output (kernel $version)"
