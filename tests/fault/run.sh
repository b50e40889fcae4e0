#!/bin/bash
# Breaks the daemon at every step it takes: tests/fault/run.sh [--long] [--seed N] [--action NAME]… [--case CASE]…
# Needs the build of tests/run.sh (sanitizers, SMARTVM_FAULTS). The last line is "N passed, N failed, N skipped".
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
export SMARTVM_TEST_BUILD=${SMARTVM_TEST_BUILD:-$root/build-tests}
if [ ! -x "$SMARTVM_TEST_BUILD/smartvmd" ] || ! "$SMARTVM_TEST_BUILD/smartvmd" --fault-points > /dev/null 2>&1; then
    cmake -G Ninja -S "$root" -B "$SMARTVM_TEST_BUILD" -DSMARTVM_SANITIZE=ON -DSMARTVM_FAULTS=ON > /dev/null &&
        cmake --build "$SMARTVM_TEST_BUILD" > /dev/null || { echo "0 passed, 1 failed, 0 skipped"; exit 1; }
fi
exec /usr/bin/python3 "$root/tests/fault/run.py" "$@"
