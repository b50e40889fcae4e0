#!/bin/bash
# Breaks the daemon at every step it takes: tests/fault/run.sh [--long] [--seed N] [--action NAME]… [--case CASE]…
# The last line is "N passed, N failed, N skipped".
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/prepare.sh
. "$root/tests/prepare.sh"
prepare packages program firecracker
exec /usr/bin/python3 "$root/tests/fault/run.py" "$@"
