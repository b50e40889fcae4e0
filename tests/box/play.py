#!/usr/bin/python3
"""
Plays the scenarios of the box: play.py [--long] [-v] [SCENARIO]…; all files of scenarios/ by default. They share one boot; after one that fails the next
begins with a fresh box. The last line is `N passed, N failed, N skipped`.
"""

import argparse
import os
import sys
import time
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE / "scenarios"), str(HERE.parent / "api")]

from box import Box  # noqa: E402
from case import Shared  # noqa: E402
from run import Result  # noqa: E402

# Those that leave the box as they found it come first, those that reset it and those with a box of their own last.
ORDER = ("main_job", "side_by_side", "daemon_restart")


def play(name, verbose, again=True):
    """
    A box whose kernel breaks tells nothing about the daemon: emulated processors that emulate virtualization are not free of faults. It is said, and the
    scenario is played once more, in another box.
    """
    result = Result(verbose)
    unittest.defaultTestLoader.loadTestsFromName(name).run(result)
    if not again or not (result.failures or result.errors):
        return result
    if Shared.box is not None and Shared.box.crash():
        Shared.drop()
    if not Box.crashes:
        return result
    print(f"box {name}: the box's kernel broke, once more:\n{Box.crashes.pop()}", flush=True)
    return play(name, verbose, again=False)


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
                    print(f"{Shared.box.log_tail(80)}\n{Shared.box.console_tail()}", flush=True)
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
