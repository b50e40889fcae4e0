#!/bin/bash
# From a fresh Debian 12 to a guest that answers HTTP: installs what is missing, builds smartvmd, starts it and creates
# the VM "hello". May be run again at any time; the daemon and its other VMs keep running.
set -uo pipefail

usage() {
    cat << 'TEXT'
usage: sudo deploy/quickstart.sh [--cleanup | --help]

Installs packages, builds and starts smartvmd, builds a small image, creates the VM "hello", and shows that it answers.
The last line of a run that succeeded is

  quickstart: ok vm=<id> ip=<address> vmm=<driver> accel=<kvm or tcg> boot_ms=<n>

  --cleanup  stops the daemon, removes its VMs (smartvmd --purge) and everything that was installed, except packages
TEXT
}

here=$(dirname "$(readlink -f "$0")")
root=$(dirname "$here")
# shellcheck source=deploy/packages.sh
. "$here/packages.sh"

program=/usr/local/sbin/smartvmd
config_dir=/etc/smartvm
config=$config_dir/smartvmd.yaml
unit=/etc/systemd/system/smartvmd.service
user=smartvm
state_dir=/var/lib/smartvm
run_dir=/run/smartvm
socket=$run_dir/api.sock
image_dir=/var/lib/smartvm-images
image=$image_dir/debian-minimal
cache=/var/cache/smartvm
build=$cache/build
log=/var/log/smartvm-quickstart.log
daemon_log=/var/log/smartvmd.log
firecracker_dir=/usr/local/bin
# What was not there before the first run, so that --cleanup removes that and nothing else.
made=$config_dir/made-by-quickstart
vm=hello
work=

# --- telling -------------------------------------------------------------------------------------

now_ms() { echo $(($(date +%s%N) / 1000000)); }

seconds() { printf '%d.%d s' $(($1 / 1000)) $(($1 % 1000 / 100)); }

# problem WHAT ADVICE: how a step says why it failed.
problem() {
    what=$1
    advice=$2
    return 1
}

# step TITLE COMMAND...: runs the command with its output in the log, and tells in one line how it went. The command
# may set `detail`.
step() {
    local title=$1 began
    shift
    began=$(now_ms)
    detail='' what='' advice=''
    printf '\n== %s\n' "$title" >> "$log"
    if "$@" >> "$log" 2>&1; then
        printf '✓ %s%s (%s)\n' "$title" "${detail:+: $detail}" "$(seconds $(($(now_ms) - began)))"
        return
    fi
    printf '✗ %s: %s\n' "$title" "${what:-it failed}"
    printf '  what to do: %s\n' "${advice:-read the end of the log}"
    printf '  the whole output is in %s; it ends with:\n' "$log"
    tail -n 8 "$log" | sed 's/^/  | /'
    exit 1
}

# --- the API -------------------------------------------------------------------------------------

# api METHOD PATH [BODY [TYPE]]: the status goes to $status, the body to the file $reply.
api() {
    local options=(--silent --show-error --max-time 90 --unix-socket "$socket" --request "$1" --output "$reply"
        --dump-header "$work/headers" --write-out '%{http_code}')
    [ $# -lt 3 ] || options+=(--header "Content-Type: ${4:-application/json}" --data-binary "$3")
    : > "$reply"
    status=$(curl "${options[@]}" "http://localhost$2") || status=000
    echo "$1 $2: $status"
    return 0
}

# What the daemon said of an error, or of a state that is not the wanted one.
said() {
    jq -r 'if .code then "\(.code): \(.detail)" elif .error then "\(.error.code): \(.error.message)" else "it is \(.state)" end' \
        "$reply" 2> /dev/null || echo "status $status"
}

field() { jq -r "$1" "$reply"; }

# --- steps ---------------------------------------------------------------------------------------

install_packages() {
    local missing
    mapfile -t missing < <(packages_missing "${packages_build[@]}" "${packages_run[@]}" "${packages_image[@]}" \
        "${packages_client[@]}")
    if [ ${#missing[@]} -gt 0 ]; then
        packages_install "${missing[@]}" ||
            problem "apt-get could not install them" "check the network and /etc/apt/sources.list, then run this again" ||
            return
        detail="${#missing[@]} installed"
    else
        detail="all there"
    fi
    # The image's kernel is downloaded, not installed, so apt's lists must be there.
    [ -n "$(apt-cache policy linux-image-cloud-amd64 2> /dev/null)" ] || apt-get -q update
}

build_program() {
    # A build of another checkout cannot be gone on with.
    grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$build/CMakeCache.txt" 2> /dev/null || rm -rf "$build"
    cmake -G Ninja -S "$root" -B "$build" -DCMAKE_BUILD_TYPE=RelWithDebInfo -DSMARTVM_TESTS=OFF &&
        cmake --build "$build" --target smartvmd ||
        problem "it does not compile" "read the first error in the log" || return
    detail=$("$build/smartvmd" --version)
}

get_firecracker() {
    # One that is there is the administrator's choice.
    if command -v firecracker > /dev/null && command -v jailer > /dev/null; then
        detail="$(firecracker --version | head -n 1) at $(command -v firecracker)"
        return
    fi
    note_new "$firecracker_dir/firecracker" "$firecracker_dir/jailer"
    bash "$here/get-firecracker.sh" --dir "$firecracker_dir" ||
        problem "firecracker and jailer could not be had" \
            "put the two programs into $firecracker_dir by hand and run this again" || return
    detail=$("$firecracker_dir/firecracker" --version | head -n 1)
}

build_image() {
    bash "$here/build-image.sh" --output "$image" --cache "$cache/packages" ||
        problem "the image could not be built" "read the end of the log; often 'apt-get update' helps" || return
    detail=$image
}

make_user() {
    detail=$user
    if getent passwd "$user" > /dev/null; then
        detail="$user is there"
        return
    fi
    note_new "user:$user"
    useradd --system --user-group --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin "$user" ||
        problem "useradd failed" "make a system user '$user' by hand and run this again"
}

# note_new NAME...: remembers those that are not there yet.
note_new() {
    local name
    mkdir -p "$config_dir"
    for name in "$@"; do
        [ -e "$name" ] || grep -qxF "$name" "$made" 2> /dev/null || echo "$name" >> "$made"
    done
}

# install_file MODE FROM TO: by renaming, so that a running program keeps its file. Sets `changed`.
install_file() {
    cmp -s "$2" "$3" && return
    install -m "$1" "$2" "$3.new" && mv -f "$3.new" "$3" && changed=yes
}

install_program() {
    changed=no
    mkdir -p "$(dirname "$program")" "$config_dir" &&
        install_file 755 "$build/smartvmd" "$program" ||
        problem "cannot write $program" "make room on the disk, or make /usr/local writable" || return
    # An administrator's configuration is never overwritten.
    if [ ! -e "$config" ]; then
        install_file 644 "$here/smartvmd.yaml" "$config" || problem "cannot write $config" "make /etc writable" || return
    fi
    "$program" --config "$config" --check-config ||
        problem "$config is not valid" "correct it, or remove it to get the default one" || return
    if has_systemd; then
        install_file 644 "$here/smartvmd.service" "$unit" && systemctl daemon-reload ||
            problem "the service could not be installed" "systemctl status smartvmd" || return
    fi
    detail="$program"
}

has_systemd() { [ -d /run/systemd/system ]; }

# Prints the daemon's process id, or fails. The lock file alone proves nothing: the id may be another's by now.
daemon_pid() {
    local pid executable
    pid=$(cat "$state_dir/lock" 2> /dev/null) && [ -n "$pid" ] || return
    executable=$(readlink "/proc/$pid/exe") || return
    executable=${executable% (deleted)}
    [ "$executable" = "$program" ] && echo "$pid"
}

stop_daemon() {
    local pid
    if has_systemd && [ -e "$unit" ]; then
        systemctl stop smartvmd
    fi
    pid=$(daemon_pid) || return 0
    kill -TERM "$pid"
    for _ in $(seq 300); do
        daemon_pid > /dev/null || return 0
        sleep 0.1
    done
    problem "smartvmd (process $pid) does not end" "end it with: kill -KILL $pid"
}

start_daemon() {
    if [ "$changed" = no ] && daemon_pid > /dev/null; then
        detail="it runs already"
    elif has_systemd; then
        # `start` alone would keep an old program; VMs do not notice a restart.
        systemctl enable smartvmd && systemctl restart smartvmd ||
            problem "systemd could not start it" "journalctl -u smartvmd -n 50" || return
    else
        stop_daemon || return
        setsid "$program" --config "$config" >> "$daemon_log" 2>&1 < /dev/null &
        disown
    fi
    wait_ready
}

wait_ready() {
    local deadline=$(($(now_ms) + 15000)) last
    while [ "$(now_ms)" -lt "$deadline" ]; do
        if [ -S "$socket" ]; then
            api GET /readyz
            [ "$status" != 200 ] || return 0
        fi
        sleep 0.1
    done
    if has_systemd; then
        journalctl -u smartvmd -n 20 --no-pager
        last=$(journalctl -u smartvmd -n 1 --no-pager -o cat)
    else
        tail -n 20 "$daemon_log"
        last=$(tail -n 1 "$daemon_log")
    fi
    problem "not ready after 15 s; its last line: $last" "$(daemon_advice)"
}

daemon_advice() {
    if has_systemd; then echo "journalctl -u smartvmd"; else echo "read $daemon_log"; fi
}

delete_vm() {
    api DELETE "/vms/$1?wait=30"
    [ "$status" = 204 ] || [ "$status" = 404 ] ||
        problem "the VM $1 could not be deleted: $(said)" "$(daemon_advice)"
}

import_image() {
    local manifest=$image/manifest.json
    api GET /images/debian-minimal
    if [ "$status" = 200 ]; then
        if [ "$(field '.state + ([.kernel, .rootfs, .initrd | .source_sha256 // .sha256] | tostring)')" = \
            "$(jq -r '"ready" + ([.kernel, .rootfs, .initrd | .sha256] | tostring)' "$manifest")" ]; then
            detail="it is there"
            return
        fi
        # One of an older kernel package, or one whose import failed.
        delete_vm "$vm" || return
        api DELETE '/images/debian-minimal?wait=30'
        [ "$status" = 204 ] || problem "the old image could not be replaced: $(said)" \
            "delete the VMs that use it, then run this again" || return
    fi
    api POST '/images?wait=60' "{\"manifest_path\": \"$manifest\"}"
    case $status in
        201 | 202) [ "$(field .state)" = ready ] && detail=debian-minimal && return ;;
    esac
    problem "$(said)" "compare images.allowed_roots in $config with $image_dir; see also: $(daemon_advice)"
}

create_vm() {
    delete_vm "$vm" || return
    created_ms=$(now_ms)
    api POST '/vms?wait=60' "{\"id\": \"$vm\", \"image\": \"debian-minimal\", \"desired_state\": \"running\",
        \"machine_config\": {\"vcpu_count\": 1, \"mem_size_mib\": 256}, \"network_interfaces\": [{\"iface_id\": \"eth0\"}]}"
    [ "$status" = 201 ] || [ "$status" = 202 ] || problem "$(said)" "$(daemon_advice)" || return
    api GET "/vms/$vm"
    [ "$(field .state)" = running ] ||
        problem "it is not running: $(said)" "curl --unix-socket $socket http://localhost/vms/$vm; $(daemon_advice)" ||
        return
    driver=$(field .vmm.driver)
    accelerator=$(field .vmm.accelerator)
    ip=$(field '.network_interfaces[0].ip')
    gateway=$(field '.network_interfaces[0].gateway')
    detail="$driver with $accelerator ($(field .vmm.reason))"
}

# What this machine lacks is said in words, not only in GET /host.
say_containment() {
    local jailed missing
    api GET /host
    missing=$(field '[(.containment.jail | to_entries[] | select(.value.in_force | not) | "no jail for \(.key): \(.value.reason)"),
        (.containment.limits | select(.in_force | not) | "no limits of memory and threads: \(.reason)"),
        (.containment.jailer.known_faults[] | "the jailer has \(.name)")] | join("; ")')
    api GET "/vms/$vm"
    jailed=$(field '.vmm | if .jailed then "the VM runs in a jail, as uid \(.uid)" else "the VM runs as root, without a jail" end')
    detail="$jailed${missing:+; not as it could be on this machine: $missing}"
}

# expect PATTERN SECONDS WHAT: polls the console, from the position $offset on, until a line has the pattern.
expect() {
    local deadline=$(($(now_ms) + $2 * 1000))
    while :; do
        api GET "/vms/$vm/console?offset=$offset" > /dev/null
        [ "$status" = 200 ] && grep -aq "$1" "$reply" && return
        [ "$(now_ms)" -lt "$deadline" ] || break
        sleep 0.05
    done
    cat "$reply"
    problem "$3 within $2 s" "curl --unix-socket $socket http://localhost/vms/$vm/console"
}

wait_up() {
    offset=0
    expect '^smartvm-guest: up ' 60 "the guest did not come up" || return
    boot_ms=$(($(now_ms) - created_ms))
    cat "$reply"
    detail=$(grep -a '^smartvm-guest: up ' "$reply" | tr -d '\r' | tail -n 1)
}

ask_http() {
    local deadline=$(($(now_ms) + 10000))
    until curl --silent --show-error --noproxy '*' --max-time 5 -o "$work/page" "http://$ip/"; do
        [ "$(now_ms)" -lt "$deadline" ] ||
            problem "http://$ip/ does not answer" "ip -d link show; curl --unix-socket $socket http://localhost/network" ||
            return
        sleep 0.1
    done
    grep -qwF "$vm" "$work/page" ||
        problem "http://$ip/ answered: $(head -c 200 "$work/page")" "is there another host of that address?" || return
    detail="http://$ip/ says \"$(head -n 1 "$work/page")\""
}

# Types the command on the guest's console and waits for the pattern in what it prints.
guest_says() {
    offset=0
    expect "^$vm# " 10 "the guest's shell has no prompt" || return
    offset=$(tr -d '\r' < "$work/headers" | sed -n 's/^X-Console-End: //Ip')
    offset=${offset:-0}
    api POST "/vms/$vm/console" "$1"$'\n' text/plain
    [ "$status" = 204 ] || problem "the console takes no input: $(said)" "$(daemon_advice)" || return
    expect "$2" 10 "no answer on the console"
}

ping_from_guest() {
    guest_says "ping -c1 -W2 $1" 'packets received' && cat "$reply" && grep -aq '1 packets received' "$reply"
}

ping_gateway() {
    ping_from_guest "$gateway" ||
        problem "${what:-the guest gets no answer from $gateway}" "nft list ruleset; ip addr show" || return
    detail="ping -c1 $gateway"
}

# Addresses of public resolvers stand for the world. The host's own networks, its gateway included, are closed to guests (docs/isolation.md).
world=(1.1.1.1 9.9.9.9 8.8.8.8)

ping_beyond() {
    local address beyond=
    [ -n "$(ip -4 route show default)" ] || { detail="none: this host has no default route"; return; }
    for address in "${world[@]}"; do
        ping -c1 -W1 "$address" && beyond=$address && break
    done
    if [ -z "$beyond" ]; then
        detail="not shown: none of ${world[*]} answers the host's own ping"
    elif ping_from_guest "$beyond"; then
        detail="ping -c1 $beyond"
    else
        problem "this host reaches $beyond, the guest does not" \
            "nft list ruleset; sysctl net.ipv4.ip_forward; is there another firewall?"
    fi
}

# --- cleaning up ---------------------------------------------------------------------------------

# The program knows what is its own, whatever the configuration names.
purge() {
    local options=()
    detail="nothing was there"
    [ -x "$program" ] || return 0
    [ ! -e "$config" ] || options=(--config "$config")
    "$program" "${options[@]}" --purge || problem "smartvmd --purge left something" "$program ${options[*]} --purge; it says what" || return
    detail="VMs, network, state"
}

remove_files() {
    local name
    if has_systemd && [ -e "$unit" ]; then
        systemctl disable smartvmd
        rm -f "$unit"
        systemctl daemon-reload
    fi
    while read -r name; do
        case $name in
            user:*) userdel "${name#user:}" ;;
            /*) rm -f "$name" ;;
        esac
    done < <(cat "$made" 2> /dev/null)
    rm -rf "$state_dir" "$run_dir" "$image" "$cache" "$config_dir" "$program" "$daemon_log"
    rmdir "$image_dir" 2> /dev/null
    for name in "$state_dir" "$run_dir" "$config_dir" "$program"; do
        [ ! -e "$name" ] || problem "$name is still there" "remove it by hand: rm -r $name" || return
    done
}

cleanup() {
    step "daemon stopped" stop_daemon
    step "instance removed" purge
    step "files, service and user removed" remove_files
    rm -f "$log"
    echo "quickstart: cleaned up; the packages stay"
}

# --- the whole -----------------------------------------------------------------------------------

quickstart() {
    step "packages" install_packages
    step "build" build_program
    step "Firecracker" get_firecracker
    step "image" build_image
    step "system user" make_user
    step "installation" install_program
    step "daemon" start_daemon
    step "image import" import_image
    step "VM $vm" create_vm
    step "containment" say_containment
    step "guest" wait_up
    # awk ends the last line, the prompt, which has no end of its own.
    tr -d '\r' < "$reply" | sed 's/\x1b\[[0-9;]*[A-Za-z]//g' | awk '{ print "  | " $0 }'
    step "HTTP from the host" ask_http
    step "ping from the guest to the host" ping_gateway
    step "way out of the host" ping_beyond
    echo "The daemon and the VM keep running. The API: curl --unix-socket $socket http://localhost/vms/$vm"
    echo "quickstart: ok vm=$vm ip=$ip vmm=$driver accel=$accelerator boot_ms=$boot_ms"
}

action=quickstart
case ${1:-} in
    '') ;;
    --cleanup) action=cleanup ;;
    -h | --help)
        usage
        exit 0
        ;;
    *)
        usage >&2
        exit 2
        ;;
esac
if [ "$(id -u)" -ne 0 ]; then
    echo "quickstart: root is needed: sudo $0 $*" >&2
    exit 1
fi
if ! command -v apt-get > /dev/null || [ "$(dpkg --print-architecture)" != amd64 ]; then
    echo "quickstart: this is made for Debian 12 on amd64" >&2
    exit 1
fi
work=$(mktemp -d)
reply=$work/reply
trap 'rm -rf "$work"' EXIT
[ "$action" = cleanup ] || : > "$log"
"$action"
