#!/bin/bash
# Clients at random against a daemon that is killed and a host that is disturbed: tests/fault/random.sh [--seed N] [--seconds N] [--long]
# The model that the history is checked against is tested first. The last line is "N passed, N failed, N skipped".
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/prepare.sh
. "$root/tests/prepare.sh"
prepare packages program firecracker
output=$(mktemp)
trap 'rm -f "$output"' EXIT
/usr/bin/python3 "$root/tests/fault/test_model.py" > "$output" 2>&1 || cat "$output"
/usr/bin/python3 "$root/tests/fault/random_run.py" "$@" 2>&1 | tee -a "$output"
awk '/^[0-9]+ passed, [0-9]+ failed, [0-9]+ skipped$/ { passed += $1; failed += $3; parts++ }
     END { failed += 2 - parts; print passed + 0 " passed, " failed " failed, 0 skipped"; exit failed > 0 }' "$output"
