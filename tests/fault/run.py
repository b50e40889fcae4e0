#!/usr/bin/python3
"""
Breaks the daemon at every operation of its plans. For each action the places that it passes are recorded first; each of them fails once, fails for
ever, hangs, and is killed before and after, and once more with a second fault while the first is recovered from. Beneath that, each of the
allocations and of SQLite's writes that were recorded fails. An operation that no action passes fails the run, so a new one can't be forgotten.
A case is named `<action>/<role>/<point>/<hit>/<mode>[/<role>:<point>:<mode> of the second fault]`; --case repeats one.
The normal run takes a sample of the cases, chosen by --seed, with every (action, point) at least once; --long takes them all.
"""

import argparse
import collections
import multiprocessing
import os
import random
import subprocess
import sys
import time
import traceback

from actions import ACTIONS
from world import BINARY, World

from spec import SPEC  # noqa: E402

MODES = ("fail", "fail-for-ever", "hang", "kill-before", "kill-after")
SECOND_MODES = ("fail", "hang", "kill-before", "kill-after")
SAMPLE_SECONDS = int(os.environ.get("SMARTVM_FAULT_SECONDS", "120"))
NTH_POINTS = ("sqlite.write", "sqlite.sync", "alloc.any")
NTH_SAMPLE = 12  # of these in the normal run, for each action and process
HITS_MAX = 12    # of one operation in one action
# Operations of the API that write nothing; the rest of those that are not GET must be passed by an action.
READ_ONLY = ("traceFirewall", "writeConsole")
PROCESSES = 2
# Cases that found something once and are rare in a sample: they come first.
FOUND = ("vm_create/worker/vm.spawn_vmm/0/fail/worker:vm.remove_guest:fail", "orphans/api/alloc.any/4/fail")
SEED = 20261124

Case = collections.namedtuple("Case", "action role point hit mode second")


def name_of(case):
    return "/".join(str(part) for part in case if part is not None)


def parse_case(text):
    parts = text.split("/")
    return Case(parts[0], parts[1], parts[2], int(parts[3]), parts[4], parts[5] if len(parts) > 5 else None)


def by_name(name):
    return next(action for action in ACTIONS if action.name == name)


def record(world, action):
    """Every place that the action passes, with how often: {(role, point): hits}."""
    action.prepare(world)

    def work():
        world.ask(action.request(world), action.wait)
        world.come_up()
        world.settle()
        time.sleep(0.6)

    hits = collections.Counter(world.record(work))
    world.clean()
    return hits


def known_points():
    """The operations of the worker's plans, from the daemon itself, and those of the API that change something, from its description."""
    points = subprocess.run([str(BINARY), "--fault-points"], capture_output=True, text=True, check=True).stdout.split()
    return points + [f"api.{operation.id}" for operation in SPEC.operations if operation.method != "GET" and operation.id not in READ_ONLY]


def cases_of(action, hits, rng, nth_max):
    cases = []
    places = sorted(place for place in hits if place[1] not in NTH_POINTS)
    for role, point in places:
        for hit in range(min(hits[role, point], HITS_MAX)):
            cases += [Case(action.name, role, point, hit, mode, None) for mode in MODES]
    for case in [c for c in cases if c.mode in SECOND_MODES]:
        second = ":".join((*rng.choice(places), rng.choice(SECOND_MODES)))
        cases.append(case._replace(second=second))
    for (role, point), count in sorted(hits.items()):
        if point in NTH_POINTS:
            numbers = range(count) if nth_max is None or count <= nth_max else sorted(rng.sample(range(count), nth_max))
            cases += [Case(action.name, role, point, number, "fail", None) for number in numbers]
    return cases


def fault_lines(case):
    mode, times = ("fail", -1) if case.mode == "fail-for-ever" else (case.mode, 1)
    lines = [f"{case.role} {case.point} {case.hit} {times} {mode}"]
    if case.second is not None:
        role, point, second_mode = case.second.split(":")
        lines.append(f"{role} {point} 0 1 {second_mode}")
    return "\n".join(lines)


def run_case(world, case):
    """Did the fault strike? What an action passes differs a little from run to run, so some find no place."""
    action = by_name(case.action)
    world.forget_repairs()
    action.prepare(world)
    world.set_fault(fault_lines(case))
    acknowledged = world.ask(action.request(world), action.wait)
    if not world.daemon.is_running() or case.mode.startswith("kill"):
        time.sleep(0.05)
    if case.mode == "fail-for-ever":
        world.clear_fault()
    world.come_up()
    world.settle()
    struck = case.mode == "fail-for-ever" or world.fault_fired()
    world.clear_fault()
    world.pause(0.02)  # one that was read before that strikes now
    world.await_worker()
    world.come_up()
    action.settled(world)
    world.was_there = world.vm("subject") is not None
    action.again(world)
    world.settle()
    action.check(world, acknowledged)
    world.check_host()
    world.clean()
    world.check_events()
    check_descriptors(world)
    reports = world.daemon.sanitizer_reports()
    assert not reports, "a sanitizer: " + reports[0]
    return struck


def check_descriptors(world):
    """A worker without VMs has as many as the same worker had before."""
    pid, count = world.base_descriptors
    if pid != world.daemon.pid:
        world.base_descriptors = (world.daemon.pid, world.descriptors())
        return
    end = time.monotonic() + 3
    while world.descriptors() > count:
        if time.monotonic() > end:
            raise AssertionError(f"{world.descriptors()} descriptors instead of {count}")
        time.sleep(0.05)


def work(cases, results, deadline):
    """Runs cases in a process of its own, with one daemon until a case fails."""
    world = None
    for case in cases:
        if time.monotonic() > deadline:
            break
        begin = time.monotonic()
        failure, struck = None, True
        try:
            if world is None:
                world = World()
                world.base_descriptors = (world.daemon.pid, world.descriptors())
            struck = run_case(world, case)
        except Exception:  # noqa: BLE001: whatever it is, it is this case's failure
            failure = traceback.format_exc() + (world.daemon.log_tail() if world else "")
        results.put((case, failure, struck, time.monotonic() - begin))
        if failure is not None and world is not None:
            try:
                world.daemon.remove()
            except Exception:  # noqa: BLE001
                pass
            world = None
    if world is not None:
        try:
            world.close()
        except Exception:  # noqa: BLE001
            results.put((Case("end", "", "", 0, "", None), traceback.format_exc(), True, 0))
    results.put(None)


def sample(cases, rng):
    """All, in an order in which the first of each (action, role, point) come first, then the rest at random."""
    rng.shuffle(cases)
    seen, first, rest = set(), [], []
    for case in cases:
        key = (case.action, case.role, case.point)
        (rest if key in seen else first).append(case)
        seen.add(key)
    return first + rest


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--long", action="store_true")
    parser.add_argument("--seed", type=int, help="default: always the same, but with --long another one each time")
    parser.add_argument("--action", action="append")
    parser.add_argument("--case", action="append")
    parser.add_argument("-v", "--verbose", action="store_true")
    options = parser.parse_args()
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1, 2**31) if options.long else SEED
    rng = random.Random(options.seed)
    print(f"fault: seed {options.seed}", flush=True)
    passed, failed = 0, 0
    if options.case:
        cases, total = [parse_case(text) for text in options.case], len(options.case)
    else:
        actions = [a for a in ACTIONS if not options.action or a.name in options.action]
        world = World()
        recorded = {action.name: record(world, action) for action in actions}
        world.close()
        passed_points = {point for hits in recorded.values() for _, point in hits}
        missing = [point for point in known_points() if point not in passed_points]
        if not options.action:
            print(f"operations that no action here passes: {' '.join(missing) or 'none'}", flush=True)
            passed, failed = (0, 1) if missing else (1, 0)
        cases = [case for action in actions for case in cases_of(action, recorded[action.name], rng, None if options.long else NTH_SAMPLE)]
        total = len(cases)
        found = [case for case in map(parse_case, FOUND) if not options.action or case.action in options.action]
        cases = found + sample(cases, rng)
    deadline = time.monotonic() + (10**6 if options.long or options.case else SAMPLE_SECONDS)
    results = multiprocessing.Queue()
    processes = [multiprocessing.Process(target=work, args=(cases[i::PROCESSES], results, deadline)) for i in range(PROCESSES)]
    for process in processes:
        process.start()
    ended, missed = 0, 0
    by_action = collections.Counter()
    while ended < PROCESSES:
        result = results.get()
        if result is None:
            ended += 1
            continue
        case, failure, struck, took = result
        by_action[case.action] += 1
        missed += not struck
        if failure is None:
            passed += 1
            if options.verbose:
                print(f"{took:6.2f} s  {name_of(case)}", flush=True)
        else:
            failed += 1
            print(f"FAILED {name_of(case)} ({took:.1f} s)\n  again: tests/fault/run.sh --seed {options.seed} --case {name_of(case)}\n{failure}", flush=True)
    for process in processes:
        process.join()
    print("cases by action: " + ", ".join(f"{name} {count}" for name, count in sorted(by_action.items())) + f"; {total} in all; in {missed} the fault found no place")
    print(f"{passed} passed, {failed} failed, 0 skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
