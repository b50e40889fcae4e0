#!/bin/bash
# clang-format, cppcheck and clang-tidy over all C files: tests/lint.sh <build directory with compile_commands.json>
set -uo pipefail

root=$(cd "$(dirname "$0")/.." && pwd)
# shellcheck source=tests/prepare.sh
. "$root/tests/prepare.sh"
prepare packages program
build=${1:-$SMARTVM_TEST_BUILD}
jobs=$(nproc)
passed=0
failed=0

cd "$root" || exit 1
mapfile -t files < <(find core db host keeper shim worker api server ./*.c tests/unit tests/host tests/guest -name '*.c' | sort)

result() {
    if [ "$2" -eq 0 ]; then passed=$((passed + 1)); else failed=$((failed + 1)) && echo "FAILED $1"; fi
}

# One layout, that of .clang-format: `clang-format-14 -i FILE…` makes it so.
mapfile -t laid_out < <(find . -path './build*' -prune -o -path ./.git -prune -o \( -name '*.c' -o -name '*.h' \) -print | sort)
clang-format-14 --dry-run -Werror "${laid_out[@]}"
result "layout (clang-format)" $?

# resourceLeak: it does not know that a variable is closed by its cleanup attribute; the sanitizers and clang-tidy look for leaks.
# varFuncNullUB: NULL ends the arguments of log_event(); POSIX makes it a pointer (void *).
cppcheck --quiet --std=c11 --language=c -j "$jobs" --enable=warning,performance,portability --inline-suppr \
    --suppress=missingIncludeSystem --suppress=checkersReport --suppress=varFuncNullUB --suppress=resourceLeak --library=gnu --error-exitcode=1 -D_GNU_SOURCE \
    -I "$root" "${files[@]}"
result cppcheck $?

# Sanitizer flags of gcc mean nothing to clang-tidy; one file at a time, so that a failure names its file.
tidy() {
    local output
    output=$(clang-tidy-14 --quiet -p "$1" "$2" 2>&1) && exit 0
    grep -vE '^[0-9]+ warnings? (generated|treated)' <<< "$output"
    echo "FAILED clang-tidy $2"
    exit 1
}
export -f tidy
printf '%s\n' "${files[@]}" | xargs -P "$jobs" -I {} bash -c 'tidy "$0" "$1"' "$build" {} > "$build/tidy.log" 2>&1
cat "$build/tidy.log"
bad=$(grep -c '^FAILED clang-tidy' "$build/tidy.log")
failed=$((failed + bad))
passed=$((passed + ${#files[@]} - bad))
echo "$passed passed, $failed failed, 0 skipped"
[ "$failed" -eq 0 ]
