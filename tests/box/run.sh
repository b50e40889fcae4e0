#!/bin/bash
# A whole KVM host in a virtual machine, and the daemon on it: tests/box/run.sh [--long] [-v] [SCENARIO]…
# The last line is "N passed, N failed, N skipped".
set -uo pipefail
here=$(dirname "$(readlink -f "$0")")
# shellcheck source=tests/prepare.sh
. "$here/../prepare.sh"
prepare packages program firecracker image
if ! bash "$here/build.sh" "$SMARTVM_TEST_BUILD"; then
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
exec /usr/bin/python3 "$here/play.py" "$@"
