#!/bin/bash
# deploy/quickstart.sh from beginning to end, twice, and its --cleanup: in a network of its own, over copies (overlays) of the
# folders that it writes to, so that this machine stays as it is.
set -uo pipefail
# shellcheck source=tests/deploy/check.inc
. "$(dirname "$0")/check.inc"
script=$root/deploy/quickstart.sh

if [ "${1:-}" != inside ]; then
    trap 'rm -rf "$work"' EXIT
    mkdir "$work/overlay"
    if [ "$(id -u)" -ne 0 ] || ! unshare --mount sh -c "mount -t tmpfs none $work/overlay &&
        mkdir $work/overlay/a $work/overlay/b && mount -t overlay none -o \
        lowerdir=/etc,upperdir=$work/overlay/a,workdir=$work/overlay/b /etc" 2> "$work/unshare.log"; then
        echo "skipped: root and overlay mounts are needed: $(cat "$work/unshare.log")"
        exit 77
    fi
    timeout --kill-after=10 280 unshare --mount --net --pid --fork --kill-child --mount-proc bash "$0" inside
    exit
fi

# --- in the namespaces; all that is started or mounted in here goes with them ---------------------

isolate() {
    local directory name
    mount -t tmpfs none "$work"
    for directory in /etc /usr/local /var; do
        name=$work/${directory//\//_}
        mkdir "$name" "$name.work"
        mount -t overlay none -o "lowerdir=$directory,upperdir=$name,workdir=$name.work" "$directory" || return
    done
    mount -t tmpfs none /run
    ip link set lo up
}

# The world outside: a gateway in a namespace behind the only uplink.
make_world() {
    ip netns add world &&
        ip link add up0 type veth peer name down0 netns world &&
        ip addr add 192.0.2.2/24 dev up0 && ip link set up0 up &&
        ip -n world addr add 192.0.2.1/24 dev down0 && ip -n world link set down0 up &&
        ip -n world link set lo up && ip -n world addr add 1.1.1.1/32 dev lo &&
        ip route add default via 192.0.2.1
}

# Nothing of an earlier installation on this machine may help.
forget() {
    rm -rf /etc/smartvm /var/lib/smartvm /var/lib/smartvm-images /usr/local/sbin/smartvmd /var/cache/smartvm
    ! getent passwd smartvm > /dev/null || userdel smartvm
    mkdir -p /var/cache/smartvm
    [ ! -d "${SMARTVM_TEST_BUILD:-}/packages" ] || cp -r "$SMARTVM_TEST_BUILD/packages" /var/cache/smartvm/
}

run() {
    local output=$1
    shift
    bash "$script" "$@" > "$output" 2>&1
    local result=$?
    cat "$output"
    return $result
}

api() { curl -sS --unix-socket /run/smartvm/api.sock "http://localhost$1"; }

ok_line='^quickstart: ok vm=hello ip=172\.30\.0\.[0-9]+ vmm=(qemu accel=tcg|firecracker accel=kvm) boot_ms=[0-9]+$'

check "a place to try it" isolate
check "an outside world" make_world
check "a machine without smartvmd" forget

refuse "an option that there is not" bash "$script" --clean
check "help" bash "$script" --help
check "the first run" run "$work/first"
check "ends with the promised line" grep -qE "$ok_line" <(tail -n 1 "$work/first")
check "has no step that failed" test "$(grep -c ✗ "$work/first")" = 0
check "the guest reached the world outside" grep -q 'way out of the host: ping -c1 1.1.1.1' "$work/first"
check "made the system user" getent passwd smartvm
check "the VM keeps running" test "$(api /vms/hello | jq -r .state)" = running
daemon=$(cat /var/lib/smartvm/lock)

check "the second run" run "$work/second"
check "ends with the promised line, too" grep -qE "$ok_line" <(tail -n 1 "$work/second")
check "left the daemon as it was" test "$(cat /var/lib/smartvm/lock)" = "$daemon"
sed -i 's/^  level: info/  level: infos/' /etc/smartvm/smartvmd.yaml
refuse "a configuration with a mistake" bash "$script"
check "the step is named, and what to do" grep -A 1 '✗ installation: /etc/smartvm/smartvmd.yaml is not valid' "$work/refuse.log"
check "and where the log is" grep -q '/var/log/smartvm-quickstart.log' "$work/refuse.log"

check "cleaning up" run "$work/cleanup" --cleanup
check "says so" grep -q '^quickstart: cleaned up' "$work/cleanup"
for gone in /etc/smartvm /var/lib/smartvm /run/smartvm /usr/local/sbin/smartvmd /var/lib/smartvm-images /var/cache/smartvm; do
    check "$gone is gone" test ! -e "$gone"
done
refuse "the system user is gone" getent passwd smartvm
refuse "no process is left" pgrep 'smartvmd|qemu-system|firecracker'
refuse "no bridge is left" ip link show svbr0
check "no table is left" test -z "$(nft list tables)"
check "cleaning up twice is no mistake" run "$work/cleanup" --cleanup
summary
