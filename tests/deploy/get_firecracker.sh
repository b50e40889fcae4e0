#!/bin/bash
# deploy/get-firecracker.sh against an HTTPS server of this test's own, with the layout of Firecracker's releases.
set -uo pipefail
# shellcheck source=tests/deploy/check.inc
. "$(dirname "$0")/check.inc"

version=9.8.7
name=v$version-x86_64
script=$root/deploy/get-firecracker.sh
server=

cleanup() {
    [ -z "$server" ] || kill "$server"
    rm -rf "$work"
}
trap cleanup EXIT

make_release() {
    mkdir -p "$work/site/v$version" "$work/tree/release-$name"
    printf '#!/bin/sh\necho Firecracker v%s\n' "$version" > "$work/tree/release-$name/firecracker-$name"
    echo jailer > "$work/tree/release-$name/jailer-$name"
    tar -czf "$work/site/v$version/firecracker-$name.tgz" -C "$work/tree" "release-$name"
    sums=("$(sha256sum < "$work/tree/release-$name/firecracker-$name" | cut -d ' ' -f 1)"
        "$(sha256sum < "$work/tree/release-$name/jailer-$name" | cut -d ' ' -f 1)")
    wrong=0000000000000000000000000000000000000000000000000000000000000000
}

start_server() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost \
        -addext subjectAltName=IP:127.0.0.1 -keyout "$work/key.pem" -out "$work/cert.pem" 2> "$work/openssl.log"
    /usr/bin/python3 - "$work" > "$work/port" 2> "$work/requests" << 'PYTHON' &
import functools, http.server, ssl, sys
work = sys.argv[1]
handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=work + "/site")
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(work + "/cert.pem", work + "/key.pem")
server.socket = context.wrap_socket(server.socket, server_side=True)
print(server.server_address[1], flush=True)
server.serve_forever()
PYTHON
    server=$!
    for _ in $(seq 100); do
        [ -s "$work/port" ] && break
        sleep 0.1
    done
    port=$(cat "$work/port")
}

# Asks the test's server; what else is given goes to the script.
get() {
    SMARTVM_FIRECRACKER_URL=https://127.0.0.1:$port SMARTVM_FIRECRACKER_CACERT=$work/cert.pem \
        bash "$script" --version "$version" --no-package "$@"
}

requests() { grep -c GET "$work/requests"; }

make_release
start_server

check "installs a release" get --sha256 "${sums[@]}" --dir "$work/bin"
check "the programs are those of the release" cmp "$work/bin/jailer" "$work/tree/release-$name/jailer-$name"
check "they can be run" test "$("$work/bin/firecracker")" = "Firecracker v$version"
check "nothing else is left there" test "$(find "$work/bin" -type f -printf '%f\n' | sort | tr '\n' ' ')" = "firecracker jailer "

before=$(requests)
check "a second run succeeds" get --sha256 "${sums[@]}" --dir "$work/bin"
check "and asks nobody" test "$(requests)" -eq "$before"

echo changed >> "$work/bin/jailer"
check "a changed program is replaced" get --sha256 "${sums[@]}" --dir "$work/bin"
check "by the right one" cmp "$work/bin/jailer" "$work/tree/release-$name/jailer-$name"
chmod -x "$work/bin/firecracker"
check "one that cannot be run is, too" get --sha256 "${sums[@]}" --dir "$work/bin"
check "and can be run then" test -x "$work/bin/firecracker"

refuse "a wrong checksum of firecracker" get --sha256 "$wrong" "${sums[1]}" --dir "$work/other"
check "the message says so" grep -q "refused: firecracker" "$work/refuse.log"
refuse "a wrong checksum of jailer" get --sha256 "${sums[0]}" "$wrong" --dir "$work/other"
check "nothing was installed" test ! -e "$work/other"
refuse "a wrong checksum over a good installation" get --sha256 "$wrong" "$wrong" --dir "$work/bin"
check "which stays" cmp "$work/bin/jailer" "$work/tree/release-$name/jailer-$name"

refuse "a version without a checksum" get --dir "$work/other"
refuse "what is not a version" get --version ../1 --sha256 "${sums[@]}" --dir "$work/other"
refuse "what is not a checksum" get --sha256 abc "${sums[1]}" --dir "$work/other"
refuse "an unknown option" get --sha256 "${sums[@]}" --dri "$work/other"
refuse "an option without its value" get --dir
refuse "a release that is not there" get --version 9.8.6 --sha256 "${sums[@]}" --dir "$work/other"
SMARTVM_FIRECRACKER_CACERT='' refuse "a server that nobody vouches for" env SMARTVM_FIRECRACKER_URL="https://127.0.0.1:$port" \
    bash "$script" --version "$version" --no-package --sha256 "${sums[@]}" --dir "$work/other"
refuse "plain HTTP" env SMARTVM_FIRECRACKER_URL="http://127.0.0.1:$port" \
    bash "$script" --version "$version" --no-package --sha256 "${sums[@]}" --dir "$work/other"
head -c 200 "$work/site/v$version/firecracker-$name.tgz" > "$work/short"
mv "$work/short" "$work/site/v$version/firecracker-$name.tgz"
refuse "an archive that was cut short" get --sha256 "${sums[@]}" --dir "$work/other"
check "still nothing was installed" test ! -e "$work/other"

if [ -x /usr/local/bin/firecracker ] && firecracker --version 2> /dev/null | grep -q 'v1\.12\.1$'; then
    check "the pinned version that is installed is recognised" bash "$script"
else
    skip "the pinned version: it is not installed"
fi
summary
