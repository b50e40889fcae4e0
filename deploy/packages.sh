# shellcheck shell=bash
# The Debian 12 packages that smartvmd needs, by purpose, and how to install those that are missing. To be sourced.

# shellcheck disable=SC2034 # used by those who source this
{
    packages_build=(cmake ninja-build gcc libc6-dev pkg-config libmicrohttpd-dev libjansson-dev libcurl4-openssl-dev
        libnl-3-dev libnl-route-3-dev libnftnl-dev libmnl-dev libsqlite3-dev libssl-dev libyaml-dev libseccomp-dev
        zlib1g-dev liblzma-dev libzstd-dev liblz4-dev)
    # What the built program is linked with, for a machine or container that does not build it.
    packages_libraries=(libcurl4 libjansson4 liblz4-1 liblzma5 libmicrohttpd12 libmnl0 libnftnl11 libnl-3-200
        libnl-route-3-200 libseccomp2 libsqlite3-0 libssl3 libyaml-0-2 libzstd1 zlib1g)
    packages_run=(qemu-system-x86 e2fsprogs)
    # Where the kernel has no WireGuard, and a tunnel is wanted.
    packages_optional=(wireguard-go)
    packages_image=(squashfs-tools cpio lz4)
    packages_client=(curl jq ca-certificates iproute2 iputils-ping nftables)
}

# Prints those of the given packages that are not installed, one a line.
packages_missing() {
    local package installed
    installed=$(dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2> /dev/null | sed -n 's/^installed //p')
    for package in "$@"; do
        grep -qxF "$package" <<< "$installed" || echo "$package"
    done
}

# Installs the given packages. What apt says goes to standard output. Another apt at work (a fresh machine updates
# itself) is waited for.
packages_install() {
    local apt=(apt-get -q -y -o DPkg::Lock::Timeout=120 -o APT::Sandbox::User=root)
    [ "$(id -u)" -eq 0 ] || {
        echo "root is needed to install: $*" >&2
        return 1
    }
    "${apt[@]}" update &&
        DEBIAN_FRONTEND=noninteractive "${apt[@]}" install --no-install-recommends "$@"
}
