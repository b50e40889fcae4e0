#!/bin/bash
# Replays the corpus of every fuzzer, and looks for more for a few seconds each: tests/fuzz/run.sh [--long] [NAME…]
# --long: 10 minutes each; what it finds anew goes into the corpus. The last line is "N passed, N failed, N skipped".
set -uo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
# shellcheck source=tests/prepare.sh
. "$root/tests/prepare.sh"
prepare packages
build=${SMARTVM_FUZZ_BUILD:-${SMARTVM_TEST_BUILD:-$root/build-tests}/fuzz}
seconds=4
long=no
if [ "${1:-}" = --long ]; then
    long=yes
    seconds=600
    shift
fi
mkdir -p "$build"
if ! { CC=clang-14 cmake -G Ninja -S "$root" -B "$build" -DSMARTVM_FUZZ=ON -DSMARTVM_SANITIZE=ON && ninja -C "$build" tests/fuzz/all; } > "$build/build.log" 2>&1; then
    tail -n 30 "$build/build.log"
    echo "0 passed, 1 failed, 0 skipped"
    exit 1
fi
names=("$@")
if [ ${#names[@]} -eq 0 ]; then
    for source in "$root"/tests/fuzz/*.c; do names+=("$(basename "$source" .c)"); done
fi

# One fuzzer, in a directory of its own, so that what it finds does not change the sources unless that was asked for.
fuzz() {
    local name=$1 corpus=$root/tests/fuzz/corpus/$1 found=$build/found/$1
    mkdir -p "$found" "$corpus"
    [ "$long" = yes ] && found=$corpus
    cd "$build" || return 1
    if ASAN_OPTIONS=detect_leaks=1 timeout $((seconds + 120)) "$build/tests/fuzz/$name" -max_total_time="$seconds" -seed=1 -timeout=10 -rss_limit_mb=4096 \
        -artifact_prefix="$build/$name-" "$found" "$corpus" > "$build/$name.log" 2>&1; then
        sed -n 's/^Done \([0-9]*\) runs.*/ok '"$name"': \1 runs/p' "$build/$name.log"
    else
        tail -n 40 "$build/$name.log"
        echo "FAILED $name; the input lies in $build"
    fi
}
export -f fuzz
export root build seconds long
printf '%s\n' "${names[@]}" | xargs -P "$(nproc)" -I {} bash -c 'fuzz "$1"' _ {} > "$build/results"
cat "$build/results"
failed=$(grep -c '^FAILED' "$build/results")
echo "$((${#names[@]} - failed)) passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
