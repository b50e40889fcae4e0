#!/usr/bin/python3
"""
Plays the scenarios of the box: play.py [--long] [-v] [SCENARIO]…; all files of scenarios/ by default. They share one boot; after one that fails the next
begins with a fresh box. The last line is `N passed, N failed, N skipped`.
"""

import argparse
import os
import signal
import sys
import threading
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "scenarios"), str(HERE.parent / "api")]

from box import Box  # noqa: E402
from case import GuestLost, Shared  # noqa: E402
from run import Result  # noqa: E402

# Those that leave the box as they found it come first, those that reset it and those with a box of their own last.
TRIES = 4
ORDER = ("main_job", "side_by_side", "daemon_restart")


class BoxResult(Result):
    """Looks at the box of a test that failed, while it is still there."""

    def __init__(self, verbose):
        super().__init__(verbose)
        self.broken = None

    def addFailure(self, test, err):
        self.look(test)
        if self.broken is None and isinstance(err[1], GuestLost):
            self.broken = str(err[1])
        super().addFailure(test, err)

    def addError(self, test, err):
        self.look(test)
        super().addError(test, err)

    def look(self, test):
        signal.alarm(0)
        box = getattr(test, "box", None) or Box.last
        self.broken = self.broken or (box.broken() if box is not None else None)


def watch(stop):
    """Switches a box off whose kernel broke: nobody has to wait for its answers."""
    while not stop.wait(3):
        box = Box.last
        qemu = box.qemu if box is not None else None
        if qemu is not None and box.crash() is not None:
            qemu.kill()


def play(name, verbose):
    """
    A box that broke tells nothing about the daemon: QEMU's emulated processors that emulate virtualization lose a guest, or memory of the box's kernel, now and
    then (seen with 7.2; more often with several guests at once). So it is looked for what shows just that, it is said, and the scenario is played anew.
    """
    for left in reversed(range(TRIES)):
        result = BoxResult(verbose)
        stop = threading.Event()
        watcher = threading.Thread(target=watch, args=(stop,), daemon=True)
        watcher.start()
        unittest.defaultTestLoader.loadTestsFromName(name).run(result)
        stop.set()
        watcher.join()
        if result.broken is None or left == 0:
            return result
        Shared.drop()
        print(f"box {name}: the box broke, and the scenario is played anew:\n{result.broken}", flush=True)
    raise AssertionError("not reached")


def main():
    known = sorted((path.stem for path in (HERE / "scenarios").glob("*.py")), key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--long", action="store_true", help="25 power cuts instead of 3")
    parser.add_argument("-v", "--verbose", action="store_true")
    parser.add_argument("names", nargs="*", choices=[*known, []], metavar="SCENARIO", help=", ".join(known))
    options = parser.parse_args()
    os.environ["SMARTVM_BOX_LONG"] = "1" if options.long else ""
    passed = failed = skipped = 0
    try:
        for name in options.names or known:
            begin = time.monotonic()
            result = play(name, options.verbose)
            passed += len(result.passed)
            skipped += len(result.skipped)
            bad = result.failures + result.errors
            failed += len(bad)
            print(f"box {name}: {len(result.passed)} passed, {len(bad)} failed ({time.monotonic() - begin:.0f} s)", flush=True)
            for test, text in bad:
                print(f"FAILED {test.id()}\n{text}")
                if Shared.box is not None:
                    try:
                        print(f"{Shared.box.log_tail(80)}\n{Shared.box.console_tail()}", flush=True)
                    except OSError as e:
                        print(f"the box does not answer: {e}\n{Shared.box.console_tail()}", flush=True)
            for test, reason in result.skipped:
                print(f"skipped {test.id()}: {reason}")
            if bad:
                Shared.drop()
    finally:
        Shared.drop()
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return 0 if failed == 0 and passed > 0 else 1


if __name__ == "__main__":
    sys.exit(main())
