#!/bin/bash
# Line and branch coverage: tests/coverage.sh [part…], as root. Parts are those of tests/run.sh; unit host api fault by default.
# Builds with counters in a tree of its own (build-coverage), runs the parts there, and prints a line for each folder; report.html in that tree has
# every line. Ends with what tests/run.sh ended with. See core/coverage.h for what is not counted.
set -uo pipefail
root=$(cd "$(dirname "$0")/.." && pwd)
build=${SMARTVM_COVERAGE_BUILD:-$root/build-coverage}
gcovr_version=8.8
parts=("$@")
[ $# -gt 0 ] || parts=(unit host api fault)

fail() {
    tail -n 20 "$1"
    exit 1
}

mkdir -p "$build"
venv=$build/gcovr
get_gcovr() {
    { dpkg-query -W python3-venv || { apt-get update && apt-get install -y --no-install-recommends python3-venv; }; } &&
        /usr/bin/python3 -m venv --clear "$venv" && "$venv/bin/pip" install --quiet "gcovr==$gcovr_version"
}
[ -x "$venv/bin/gcovr" ] || get_gcovr > "$build/gcovr.log" 2>&1 || fail "$build/gcovr.log"

# Counters of root, and of the API process's user, who must reach his: core/coverage.h.
out=$(mktemp -d /var/tmp/smartvm-coverage.XXXXXX)
trap 'rm -rf "$out"' EXIT
chmod 755 "$out"
mkdir -m 755 "$out/root"
mkdir -m 1777 "$out/api"

# Without optimization, the time limits of single checks are short.
CK_TIMEOUT_MULTIPLIER=5 GCOV_PREFIX=$out/root SMARTVM_COVERAGE_API=$out/api SMARTVM_TEST_BUILD=$build \
    SMARTVM_TEST_CMAKE="-DSMARTVM_SANITIZE=OFF -DSMARTVM_COVERAGE=ON -DCMAKE_BUILD_TYPE=Debug" "$root/tests/run.sh" "${parts[@]}"
status=$?

# Together, and back to where the compiler expects them.
counters=$out/root$build
if [ -d "$out/api$build" ]; then
    counters=$out/merged
    gcov-tool merge -o "$counters" "$out/root$build" "$out/api$build" > "$build/merge.log" 2>&1 || fail "$build/merge.log"
fi
find "$build" -name '*.gcda' -delete
cp -r "$counters/CMakeFiles" "$build"
folders=(worker api host db keeper core server)
filters=()
for folder in "${folders[@]}"; do filters+=(--filter "$root/$folder/"); done
"$venv/bin/gcovr" --root "$root" "${filters[@]}" --json-summary "$build/coverage.json" --html-details "$build/report.html" "$build/CMakeFiles" > "$build/report.log" 2>&1 ||
    fail "$build/report.log"
/usr/bin/python3 - "$build/coverage.json" "${folders[@]}" << 'PYTHON'
import json, sys

files = json.load(open(sys.argv[1]))["files"]
keys = ("line_covered", "line_total", "branch_covered", "branch_total")
print(f"{'':8} {'lines':>22} {'branches':>24}")
for name in [*sys.argv[2:], ""]:
    lines, of_lines, branches, of_branches = (sum(f[key] for f in files if f["filename"].startswith(name)) for key in keys)
    print(f"{name or 'all':8} {lines:6} of {of_lines:6} {100 * lines / max(of_lines, 1):5.1f} % {branches:6} of {of_branches:6} {100 * branches / max(of_branches, 1):5.1f} %")
PYTHON
exit "$status"
