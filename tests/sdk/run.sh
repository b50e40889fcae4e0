#!/bin/bash
# Makes clients of openapi.yaml by all generators, compiles them, and runs them against the daemon: tests/sdk/run.sh
# Needs the build of tests/run.sh. The generators stand in $SMARTVM_TEST_BUILD/sdk, and are installed again when versions.sh changes.
# The last line is "N passed, N failed, N skipped"; each linter and each client is a test.
set -uo pipefail
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
export SMARTVM_TEST_BUILD=${SMARTVM_TEST_BUILD:-$root/build-tests}
tools=$SMARTVM_TEST_BUILD/sdk
. "$here/versions.sh"
export PATH=$tools/python/bin:$PATH GOPATH=$tools/go GOCACHE=$tools/go-build GOTOOLCHAIN=local GOFLAGS=-mod=mod GOBIN=$tools/bin

install_debian() {
    local package missing=()
    for package in "${debian_packages[@]}"; do
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2> /dev/null)" = installed ] || missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}"
}

install_tools() {
    install_debian || return
    /usr/bin/python3 -m venv --clear "$tools/python" || return
    "$tools/python/bin/pip" install --quiet "${python_packages[@]}" "${client_packages[@]}" || return
    (mkdir -p "$tools/npm" && cd "$tools/npm" && echo '{"type": "module"}' > package.json && npm install --no-fund --no-audit "${npm_packages[@]}") || return
    go install "$oapi_codegen"
}

installed=$(cat "$here/versions.sh" "$here/run.sh" | sha256sum | cut -d ' ' -f 1)
if [ "$(cat "$tools/installed" 2> /dev/null)" != "$installed" ]; then
    mkdir -p "$tools"
    if ! install_tools > "$tools/install.log" 2>&1; then
        tail -n 5 "$tools/install.log"
        echo "skipped sdk: the generators could not be installed"
        echo "0 passed, 0 failed, 1 skipped"
        exit 0
    fi
    echo "$installed" > "$tools/installed"
fi
exec /usr/bin/python3 "$here/run.py" "$tools" "$oapi_runtime"
