#!/usr/bin/env bash
# Figures, each against a floor measured in the same run: tests/bench/run.sh [name…]. One line per figure:
#   figure <name> <value> <unit> floor=<value> ratio=<value>
# Needs root, /dev/kvm and Firecracker. Runs in a network namespace of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."

build=${SMARTVM_BENCH_BUILD:-build-bench}
if [ "$(id -u)" != 0 ]; then
    echo "bench: needs root" >&2
    exit 1
fi
# shellcheck source=tests/prepare.sh
. tests/prepare.sh
prepare_packages+=(wrk)
prepare packages firecracker
cmake -G Ninja -S . -B "$build" -DCMAKE_BUILD_TYPE=Release > /dev/null
cmake --build "$build" --target smartvmd tiny_guest bench_bare bench_policy bench_attach > /dev/null
exec python3 tests/bench/bench.py "$build" "$@"
