#!/bin/bash
# Makes the box, a whole KVM host in a virtual machine: tests/box/build.sh <build directory of tests/run.sh>
# It needs smartvmd, the image and the packages in there, and makes in <build directory>/box
#   initrd  busybox and the modules that lead to the root file system
#   root    a squashfs: this machine's Debian programs and libraries that the box needs, the kernel's modules, smartvmd, Firecracker
# The kernel is that of the image. The same input is not built twice.
set -euo pipefail

here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$(dirname "$here")")
build=$(readlink -f "$1")
out=$build/box
bundle=$build/image/debian-minimal
tiny=$build/tests/guest/tiny.elf

# setsid: busybox's starts its own applets instead of the programs of their name.
programs=(dash setsid systemctl journalctl ip nft wg tc sysctl sqlite3 curl jq socat modprobe qemu-system-x86_64 mke2fs firecracker jailer)
# For the scenario with the service manager: its programs stay where they are, and of its units only these are there.
systemd=(/lib/systemd/systemd /lib/systemd/systemd-journald /lib/systemd/systemd-cgroups-agent /lib/systemd/systemd-shutdown)
initrd_modules=(virtio_mmio virtio_blk virtio_net squashfs ext4)
firmware=(/usr/share/seabios/bios-microvm.bin /usr/share/seabios/bios-256k.bin /usr/share/qemu/kvmvapic.bin
    /usr/share/qemu/linuxboot_dma.bin /usr/share/qemu/pvh.bin)

fail() {
    echo "tests/box/build.sh: $1" >&2
    exit 1
}

kernel_debs=("$build"/packages/linux-image-*-cloud-amd64_*.deb)
kernel_deb=${kernel_debs[-1]}
[ -e "$kernel_deb" ] && [ -e "$bundle/manifest.json" ] || fail "there is no image in $build: deploy/build-image.sh makes it"
mkdir -p "$out"
work=$(mktemp -d "$out/.build.XXXXXX")
trap 'rm -rf "$work"' EXIT

# Where the programs are, and all that they load.
paths=()
for program in "${programs[@]}"; do
    path=$(PATH=$PATH:/usr/sbin:/sbin command -v "$program") || fail "$program is not installed"
    paths+=("$path")
done
mapfile -t libraries < <(ldd "${paths[@]}" "${systemd[@]}" "$build/smartvmd" 2> /dev/null | sed -n 's/.*=> \(\/[^ ]*\) .*/\1/p; s/^\t\(\/[^ ]*\) .*/\1/p' |
    cat - <(echo /usr/lib/x86_64-linux-gnu/libgcc_s.so.1) | sort -u)

stamp=$(sha256sum "$here/build.sh" "$here"/image/*-* "$here"/image/{rc,agent,inittab} "$here"/image/systemd/* "$root/deploy/smartvmd.service" "$build/smartvmd" "$tiny" "$bundle/.stamp" "${paths[@]}" "${libraries[@]}" <(echo "$kernel_deb") |
    sha256sum)
if [ "$(cat "$out/stamp" 2> /dev/null)" = "$stamp" ]; then
    echo "tests/box/build.sh: up to date"
    exit
fi
rm -f "$out/stamp"

dpkg-deb --fsys-tarfile "$kernel_deb" | tar -x -C "$work" ./lib/modules
version=$(ls "$work/lib/modules")
depmod -b "$work" "$version"

initrd=$work/initrd
mkdir -p "$initrd"/{bin,dev,proc,sys,modules,root}
cp "$(command -v busybox)" "$initrd/bin/busybox"
ln -s busybox "$initrd/bin/sh"
install -m 755 "$here/image/initrd-init" "$initrd/init"
# In the order in which they can be loaded.
for module in "${initrd_modules[@]}"; do
    modprobe -d "$work" -S "$version" --show-depends "$module" | sed -n 's/^insmod \([^ ]*\).*/\1/p'
done | awk '!seen[$0]++' | while read -r path; do
    cp "$path" "$initrd/modules/"
    basename "$path" >> "$initrd/modules/order"
done
(cd "$initrd" && find . | cpio -o -H newc -R 0:0 --quiet) > "$out/initrd"

tree=$work/root
mkdir -p "$tree"/{dev,proc,sys,run,tmp,var,root,etc/smartvm,usr/{bin,lib,lib64,share/{qemu,box}}}
for name in bin sbin; do ln -s usr/bin "$tree/$name"; done
for name in lib lib64; do ln -s "usr/$name" "$tree/$name"; done
ln -s bin "$tree/usr/sbin"
cp "$(command -v busybox)" "$tree/usr/bin/busybox"
for applet in $(busybox --list); do [ "$applet" = busybox ] || ln -s busybox "$tree/usr/bin/$applet"; done
for path in "${paths[@]}"; do
    rm -f "$tree/usr/bin/$(basename "$path")"
    cp -L "$path" "$tree/usr/bin/"
done
for path in "${libraries[@]}"; do
    mkdir -p "$tree/usr${path%/*}" 2> /dev/null || true
    to=${path#/usr}
    mkdir -p "$tree/usr${to%/*}"
    cp -L "$path" "$tree/usr$to"
done
# Not busybox's, for the same reason.
ln -sf dash "$tree/usr/bin/sh"
mkdir -p "$tree/usr/lib/x86_64-linux-gnu/qemu"
cp /usr/lib/x86_64-linux-gnu/qemu/accel-tcg-x86_64.so "$tree/usr/lib/x86_64-linux-gnu/qemu/"
cp -L "${firmware[@]}" "$tree/usr/share/qemu/"
cp -r "$work/lib/modules" "$tree/usr/lib/modules"
cp "$build/smartvmd" "$tree/usr/bin/smartvmd"
cp -r "$bundle" "$tree/usr/share/box/debian-minimal"
sed "s|$bundle|/usr/share/box/debian-minimal|" "$bundle/manifest.json" > "$tree/usr/share/box/debian-minimal/manifest.json"
cp "$tiny" "$tree/usr/share/box/"
mke2fs -q -F -t ext2 "$tree/usr/share/box/rootfs.img" 256k
mkdir -p "$tree"/usr/lib/systemd/system/sysinit.target.wants "$tree"/etc/systemd/system/smartvmd.service.d "$tree"/usr/local/sbin
cp -L "${systemd[@]}" "$tree/usr/lib/systemd/"
cp /lib/systemd/system/*.target /lib/systemd/system/systemd-journald*.s* "$tree/usr/lib/systemd/system/"
ln -s ../systemd-journald.service "$tree/usr/lib/systemd/system/sysinit.target.wants/"
cp "$here"/image/systemd/*.{service,target} "$root/deploy/smartvmd.service" "$tree/etc/systemd/system/"
cp "$here/image/systemd/sanitizers.conf" "$tree/etc/systemd/system/smartvmd.service.d/"
ln -s ../../bin/smartvmd "$tree/usr/local/sbin/smartvmd"
ln -s /run/smartvmd.yaml "$tree/etc/smartvm/smartvmd.yaml"
touch "$tree/etc/machine-id"
install -m 755 "$here/image/rc" "$here/image/agent" "$tree/etc/"
install -m 644 "$here/image/inittab" "$tree/etc/"
printf 'root:x:0:0:root:/root:/bin/sh\nsmartvm:x:999:999::/:/bin/false\n' > "$tree/etc/passwd"
printf 'root:x:0:\nsmartvm:x:999:\n' > "$tree/etc/group"
echo 127.0.0.1 localhost > "$tree/etc/hosts"
mksquashfs "$tree" "$out/root" -all-root -noappend -no-xattrs -no-progress -quiet -comp lz4 > "$work/mksquashfs.log" 2>&1 ||
    { cat "$work/mksquashfs.log" >&2; fail "mksquashfs failed"; }
echo "$stamp" > "$out/stamp"
echo "tests/box/build.sh: made $out (kernel $version)"
