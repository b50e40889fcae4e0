#!/usr/bin/python3
"""
Runs the API suite: run.py [-j JOBS] [-v] [THEME | THEME.Class | THEME.Class.test]…

A theme is a file test_THEME.py; each runs in a process of its own, JOBS of them at once. The last line is
`N passed, N failed, N skipped`. A full run also fails for operations of openapi.yaml that no test used, and for their statuses that none produced.
"""

import argparse
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
THEME_LIMIT_S = 420
# The longest first, so that no processor idles at the end.
ORDER = ["border", "standin", "dry_run", "drift", "ipv6", "wireguard", "restart", "linux", "vmms", "network", "hostile", "faults", "statuses", "policies", "console"]


class TimeLimit(Exception):
    pass


class Result(unittest.TestResult):
    def __init__(self, verbose):
        super().__init__()
        self.verbose = verbose
        self.passed = []
        self.begin = 0.0

    def startTest(self, test):
        super().startTest(test)
        method = getattr(test, test._testMethodName)
        seconds = getattr(method, "limit_s", 60)
        self.begin = time.monotonic()

        def expire(_number, _frame):
            raise TimeLimit(f"not done within {seconds} s")

        signal.signal(signal.SIGALRM, expire)
        signal.alarm(seconds)

    def stopTest(self, test):
        signal.alarm(0)
        super().stopTest(test)
        if self.verbose:
            print(f"{time.monotonic() - self.begin:7.2f} s  {test.id()}", flush=True)

    def addSuccess(self, test):
        self.passed.append(test.id())

    def addExpectedFailure(self, test, err):
        """A hole that is known, with its test: counted as skipped, so that it stays in sight."""
        self.skipped.append((test, f"known, expected to fail: {str(err[1]).splitlines()[0][:300]}"))

    def addUnexpectedSuccess(self, test):
        self.failures.append((test, "this was expected to fail, and does not: take the mark off"))

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)


def run_theme(names, report, verbose):
    sys.path.insert(0, str(HERE))
    result = Result(verbose)
    suite = unittest.defaultTestLoader.loadTestsFromNames([f"test_{name}" for name in names])
    try:
        suite.run(result)
    except TimeLimit:
        result.errors.append((unittest.FunctionTestCase(lambda: None, description="time limit"), traceback.format_exc()))
    from spec import SPEC

    failures = [(test.id() if hasattr(test, "id") else str(test), text) for test, text in result.failures + result.errors]
    Path(report).write_text(
        json.dumps(
            {
                "passed": result.passed,
                "failed": failures,
                "skipped": [(test.id(), reason) for test, reason in result.skipped],
                "seen": {operation: sorted(statuses) for operation, statuses in SPEC.seen.items()},
            }
        )
    )


class Theme:
    """A theme that runs in a process of its own."""

    def __init__(self, names, verbose):
        self.name = " ".join(names)
        self.report = tempfile.NamedTemporaryFile(prefix="svt-report-")
        self.output = tempfile.TemporaryFile()
        argv = [sys.executable, str(Path(__file__).resolve()), "--theme", self.report.name, *names]
        self.process = subprocess.Popen(argv + ["-v"] * verbose, stdout=self.output, stderr=self.output)
        self.begin = time.monotonic()

    def done(self):
        if self.process.poll() is None and time.monotonic() - self.begin > THEME_LIMIT_S:
            self.process.kill()
            self.process.wait()
        return self.process.poll() is not None

    def result(self):
        self.output.seek(0)
        text = self.output.read().decode(errors="replace")
        data = Path(self.report.name).read_text()
        remove_leftovers(self.process.pid)
        if not data:
            reason = f"the theme ended with {self.process.returncode} after {time.monotonic() - self.begin:.0f} s\n{text[-3000:]}"
            return {"passed": [], "failed": [(self.name, reason)], "skipped": [], "seen": {}}, text
        return json.loads(data), text


def remove_leftovers(pid):
    """Of a theme that could not clean up after itself."""
    sys.path.insert(0, str(HERE))
    import host

    prefix = f"svt-{pid}-"
    for entry in Path("/run/netns").glob(prefix + "*") if Path("/run/netns").is_dir() else ():
        host.remove_netns(entry.name)
    for parent in ("/run", "/dev/shm", "/var/lib/smartvm-tests"):
        for path in Path(parent).glob(prefix + "*"):
            host.remove_tree(path)
    mount = host.cgroup2_mount()
    for path in mount.glob(f"smartvm_b*p{pid}") if mount else ():
        host.remove_cgroup(path.name)


def not_covered(seen):
    """What openapi.yaml declares and no test has seen, a line each; the caller counts them as failures."""
    sys.path.insert(0, str(HERE))
    from spec import SPEC

    unused = [f"no test used the operation {op.method} {op.path} ({op.id})" for op in SPEC.unused_operations(seen)]
    return unused + [f"no test produced {status} of {op.method} {op.path}" for op, statuses in SPEC.unseen_statuses(seen) for status in statuses]


def run_all(groups, jobs, verbose, full):
    waiting, running = list(groups), []
    total = {"passed": 0, "failed": 0, "skipped": 0}
    seen = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            running.append(Theme(waiting.pop(0), verbose))
        time.sleep(0.1)
        for theme in [t for t in running if t.done()]:
            running.remove(theme)
            result, text = theme.result()
            took = time.monotonic() - theme.begin
            counts = {kind: len(result[kind]) for kind in total}
            print(f"api {theme.name}: {counts['passed']} passed, {counts['failed']} failed, "
                  f"{counts['skipped']} skipped ({took:.1f} s)", flush=True)
            if text.strip():
                print(text.rstrip())
            for name, reason in result["failed"]:
                print(f"FAILED {name}\n{reason}", flush=True)
            for name, reason in result["skipped"]:
                print(f"skipped {name}: {reason}")
            for kind in total:
                total[kind] += counts[kind]
            for operation, statuses in result["seen"].items():
                seen.setdefault(operation, set()).update(statuses)
    if full:
        for line in not_covered(seen):
            print(f"FAILED {line}")
            total["failed"] += 1
    print(f"{total['passed']} passed, {total['failed']} failed, {total['skipped']} skipped")
    return 0 if total["failed"] == 0 and total["passed"] > 0 else 1


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-j", "--jobs", type=int, default=os.cpu_count() or 1)
    parser.add_argument("-v", "--verbose", action="store_true", help="print each test with its time")
    parser.add_argument("--theme", metavar="REPORT", help=argparse.SUPPRESS)
    parser.add_argument("names", nargs="*", help="themes or tests; all by default")
    options = parser.parse_args()
    if options.theme:
        run_theme(options.names, options.theme, options.verbose)
        return 0
    sys.path.insert(0, str(HERE))
    from daemon import BINARY, TINY

    if not all(path.exists() for path in (BINARY, TINY)) or shutil.which("firecracker") is None:
        made = subprocess.run(["bash", str(HERE.parent / "prepare.sh"), "packages", "program", "firecracker", "image"])
        if made.returncode != 0:
            return made.returncode
    themes = sorted(path.stem.removeprefix("test_") for path in HERE.glob("test_*.py"))
    themes.sort(key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    full = not options.names
    return run_all([[name] for name in options.names or themes], options.jobs, options.verbose, full)


if __name__ == "__main__":
    sys.exit(main())
