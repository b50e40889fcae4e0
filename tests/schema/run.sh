#!/bin/bash
# Requests that a machine made up of openapi.yaml, valid and not, against the daemon: tests/schema/run.sh [--long] [--seed N]
# The last line is "N passed, N failed, N skipped"; each operation is a test.
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/prepare.sh
. "$root/tests/prepare.sh"
prepare packages program firecracker
venv=$SMARTVM_TEST_BUILD/schemathesis
version=4.32.5
if [ "$("$venv/bin/schemathesis" --version 2> /dev/null)" != "schemathesis, version $version" ]; then
    log=$SMARTVM_TEST_BUILD/schemathesis.log
    if ! { /usr/bin/python3 -m venv --clear "$venv" && "$venv/bin/pip" install --quiet "schemathesis==$version"; } > "$log" 2>&1; then
        tail -n 1 "$log"
        echo "skipped: schemathesis could not be installed"
        echo "0 passed, 0 failed, 1 skipped"
        exit 0
    fi
fi
exec /usr/bin/python3 "$root/tests/schema/run.py" "$venv/bin/schemathesis" "$@"
