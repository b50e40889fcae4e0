#!/bin/bash
# Builds smartvmd with sanitizers and runs its tests: tests/run.sh [part…]
# Parts: unit host api schema sdk fuzz fault box deploy lint; all by default. The last line is "N passed, N failed, N skipped".
# SMARTVM_TEST_BUILD is the build tree, and SMARTVM_TEST_CMAKE more arguments for cmake (tests/coverage.sh).
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/prepare.sh
. "$root/tests/prepare.sh"
build=$SMARTVM_TEST_BUILD
export SMARTVM_TEST_PREPARED=yes
jobs=$(nproc)
program_limit_s=300
parts=(unit host api schema sdk fuzz fault box deploy lint)

passed=0
failed=0
skipped=0
failures=()

say() { printf '%s\n' "$*"; }

finish() {
    if [ ${#failures[@]} -gt 0 ]; then
        say "failed:"
        printf '  %s\n' "${failures[@]}"
    fi
    say "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" -eq 0 ] && [ "$passed" -gt 0 ]
    exit
}

# Counts one failure of $1, whose output is the file $2.
failure() {
    failed=$((failed + 1))
    failures+=("$1")
    say "FAILED $1"
    [ -s "${2:-/dev/null}" ] && tail -n 200 "$2"
    return 0
}

# What is prepared by tests/prepare.sh; without packages and the program there is nothing to test.
need() {
    [ "$1" != program ] || say "building in $build"
    prepare_one "$1" && return
    failure "preparation: $1" "$build/$1.log"
    case $1 in packages | program) finish ;; esac
}

# The newest line of the file $1 that is "N passed, N failed, N skipped", as three numbers.
summary_of() {
    sed -n 's/^\([0-9]\+\) passed, \([0-9]\+\) failed, \([0-9]\+\) skipped$/\1 \2 \3/p' "$1" | tail -n 1
}

# Sums of Check's own lines "NN%: Checks: N, Failures: N, Errors: N" in the file $1: checks, and what failed.
check_summary_of() {
    sed -n 's/^[0-9]*%: Checks: \([0-9]*\), Failures: \([0-9]*\), Errors: \([0-9]*\)$/\1 \2 \3/p' "$1" |
        awk '{ checks += $1; bad += $2 + $3 } END { if (NR) print checks, bad }'
}

# A program of libcheck: $1 is its path below tests/; leaves its output, its status and its seconds in the directory $2.
run_check_program() {
    local output=$2/${1//\//-} began=$SECONDS
    (cd "$SMARTVM_TEST_BUILD" && CK_VERBOSITY=normal UBSAN_OPTIONS=print_stacktrace=1 timeout --kill-after=5 "$program_limit_s" "tests/$1") > "$output" 2>&1
    echo "$? $((SECONDS - began))" > "$output.status"
}

# Each check of the program is a test. A crash, a sanitizer's report or an endless loop is one failure more.
count_check_program() {
    local name=$1 output=$2/${1//\//-} status seconds checks bad
    read -r status seconds < "$output.status"
    read -r checks bad <<< "$(check_summary_of "$output")"
    if [ "${bad:-0}" -gt 0 ]; then
        passed=$((passed + checks - bad))
        failed=$((failed + bad - 1))
        failure "$name: $bad of $checks checks" "$output"
    elif [ -z "${checks:-}" ] || [ "$status" -ne 0 ]; then
        passed=$((passed + ${checks:-0}))
        failure "$name: ended with status $status$([ "$status" -eq 124 ] && echo " after $program_limit_s s")" "$output"
    elif grep -Eq 'ERROR: [A-Za-z]*Sanitizer|runtime error:' "$output"; then
        passed=$((passed + checks))
        failure "$name: a sanitizer's report" "$output"
    else
        passed=$((passed + checks))
        say "ok $name: $checks checks, $seconds s"
    fi
}

# A script: one that ends with a summary line counts as that says; else it is one test, and status 77 is a skip.
run_script() {
    local name=$1 output status numbers
    shift
    output=$(mktemp "$build/out.XXXXXX")
    timeout --kill-after=5 "${script_limit_s:-$program_limit_s}" "$@" > "$output" 2>&1
    status=$?
    numbers=$(summary_of "$output")
    if [ -n "$numbers" ]; then
        read -r p f s <<< "$numbers"
        passed=$((passed + p))
        skipped=$((skipped + s))
        if [ "$f" -gt 0 ] || [ "$status" -ne 0 ]; then
            failed=$((failed + (f > 0 ? f - 1 : 0)))
            failure "$name: $f failed, status $status" "$output"
        else
            say "ok $name: $p passed, $s skipped"
            grep '^skipped ' "$output"
        fi
    elif [ "$status" -eq 0 ]; then
        passed=$((passed + 1))
        say "ok $name"
    elif [ "$status" -eq 77 ]; then
        skipped=$((skipped + 1))
        say "skipped $name: $(tail -n 1 "$output")"
    else
        failure "$name: status $status" "$output"
    fi
    rm -f "$output"
}

# Every source file has a program, and every program a source file: one left over from another commit is not run.
# They mostly wait, for the kernel and for time to pass, so several run at once.
run_check_programs() {
    local dir name names=()
    dir=$(mktemp -d "$build/out.XXXXXX")
    mapfile -t names < <(cd "$root/tests" && find "$1" -name '*.c' | sed 's/\.c$//' | sort)
    export -f run_check_program
    export program_limit_s
    printf '%s\n' "${names[@]}" | xargs -P $((2 * jobs)) -I {} bash -c 'run_check_program "$1" "$0"' "$dir" {}
    for name in "${names[@]}"; do
        count_check_program "$name" "$dir"
    done
    rm -rf "$dir"
}

run_scripts() {
    local script
    for script in "$root/tests/$1"/*.sh; do
        [ -e "$script" ] && run_script "$1/$(basename "$script")" bash "$script"
    done
}

part_unit() {
    run_check_programs unit
    run_scripts unit
}

part_host() { run_check_programs host; }

part_schema() { SMARTVM_TEST_BUILD=$build run_script schema bash "$root/tests/schema/run.sh"; }

# The first time it installs generators of four languages, which takes minutes.
part_sdk() { script_limit_s=1800 SMARTVM_TEST_BUILD=$build run_script sdk bash "$root/tests/sdk/run.sh"; }

part_fuzz() { SMARTVM_TEST_BUILD=$build run_script fuzz bash "$root/tests/fuzz/run.sh"; }

# A sample of the faults, and a minute of the randomised run; more of both: tests/fault/run.sh --long, tests/fault/random.sh --long.
part_fault() {
    script_limit_s=900 SMARTVM_TEST_BUILD=$build run_script fault bash "$root/tests/fault/run.sh"
    script_limit_s=400 SMARTVM_TEST_BUILD=$build run_script fault/random bash "$root/tests/fault/random.sh"
}

# A whole KVM host in a virtual machine.
part_box() {
    tell_lint -STOP
    script_limit_s=1800 SMARTVM_TEST_BUILD=$build run_script box bash "$root/tests/box/run.sh"
    tell_lint -CONT
}

part_deploy() { run_scripts deploy; }

# It only computes, and so does in the background what the other parts leave of the processors: in a session of its own with the lowest priority
# (where sessions are scheduled as groups, nice alone counts within one). The box, whose clock is the real one, is not disturbed.
begin_lint() {
    lint_output=$build/lint.log
    setsid bash -c 'echo 19 > /proc/self/autogroup; exec nice -n 19 bash "$0" "$1"' "$root/tests/lint.sh" "$build" > "$lint_output" 2>&1 &
    lint_pid=$!
    trap 'kill -KILL -- "-$lint_pid" 2> /dev/null' EXIT
}

tell_lint() { [ -n "${lint_pid:-}" ] && kill "$1" -- "-$lint_pid" 2> /dev/null; }

part_lint() {
    [ -n "${lint_pid:-}" ] || begin_lint
    script_limit_s=1200 run_script lint bash -c 'tail --pid="$0" -f /dev/null; cat "$1"; tail -n 1 "$1" | grep -q " 0 failed,"' "$lint_pid" "$lint_output"
}

# Its own summary tells themes and tests; it is shown as it comes, since it takes minutes.
part_api() {
    local output=$build/api.log status numbers p f s
    SMARTVM_TEST_BUILD=$build timeout --kill-after=10 1500 /usr/bin/python3 "$root/tests/api/run.py" -j $((jobs + 1)) 2>&1 | tee "$output"
    status=${PIPESTATUS[0]}
    numbers=$(summary_of "$output")
    read -r p f s <<< "${numbers:-0 1 0}"
    passed=$((passed + p))
    skipped=$((skipped + s))
    failed=$((failed + f))
    [ "$f" -gt 0 ] && failures+=("api: $f tests, see above")
    [ "$f" -eq 0 ] && [ "$status" -ne 0 ] && failure "api: ended with status $status"
    return 0
}

wanted=("${@:-${parts[@]}}")
for part in "${wanted[@]}"; do
    if [[ " ${parts[*]} " != *" $part "* ]]; then
        say "there is no part '$part'; parts are: ${parts[*]}" >&2
        exit 2
    fi
done
if [ "$(id -u)" -ne 0 ]; then
    say "run this as root: sudo tests/run.sh" >&2
    exit 2
fi

mkdir -p "$build"
need packages
need program
[[ " ${wanted[*]} " == *" lint "* ]] && begin_lint
for part in "${wanted[@]}"; do
    began=$SECONDS
    say "== $part"
    case $part in
        host | api | schema | sdk | fault | box | deploy) need firecracker ;;&
        host | api | box | deploy) need image ;;&
        *) "part_$part" ;;
    esac
    say "-- $part took $((SECONDS - began)) s"
done
finish
