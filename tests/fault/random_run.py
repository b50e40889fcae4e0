#!/usr/bin/python3
"""
Clients create, start, stop, change and delete VMs, images, policies and address sets at random, while the daemon is killed and the host is disturbed.
Afterwards the history is checked against model.py, and each invariant is one test. The seed decides what each client asks for in which order, and what
the disturber does; how the threads interleave, and so what comes of it, can't be replayed: a failure is told with its history.
"""

import argparse
import collections
import json
import os
import random
import re
import sys
import threading
import time
import traceback
from pathlib import Path

import model
from model import Op
from players import Client, Disturber, Guard, Reader, Requests, Run, Watcher
from world import RESTING, World, disks, eventually

CLIENTS = 4
SETTLE_S = 40
SEED = 20261127


class RandomWorld(World):
    """The world of the fault runs, with images of other bytes for each name."""

    def manifest(self, name):
        manifest = self.daemon.tiny_manifest(name, read_only=False)
        rootfs = self.daemon.images / f"{name}.img"
        if not rootfs.exists():
            new = rootfs.with_suffix(f".{threading.get_ident()}")
            new.write_bytes(disks.ext4(name.encode()))
            os.rename(new, rootfs)
        manifest["rootfs"]["path"] = str(rootfs)
        return manifest


def settle(world):
    """The disturber has stopped: everything becomes as it is wanted."""
    world.come_up()

    def differences():
        client = world.client
        vms = client.items("/vms")
        found = [f"{vm['id']} is {vm['state']}, generation {vm['observed_generation']} of {vm['generation']}" for vm in vms
                 if vm["generation"] != vm["observed_generation"] or vm["state"] not in RESTING]
        found += [f"the image {image['id']} is {image['state']}" for image in client.items("/images") if image["state"] not in ("ready", "failed")]
        found += [f"the network: {c['message']}" for c in client.json("/network")["conditions"] if c["type"] == "ready" and c["status"] != "true"]
        policies = ["/firewall", *(f"/vms/{vm['id']}/firewall" for vm in vms)]
        return found + [f"{path}: {c['message']}" for path in policies for c in client.json(path)["conditions"] if c["type"] == "applied" and c["status"] != "true"]

    return eventually_none(differences, SETTLE_S) or model.check_rest(world.client.items("/vms"))


def read_everything(run):
    """The last requests of the history."""
    requests = Requests(run, "end")
    for vm in sorted(run.names["vms"]):
        requests.ask("get", vm, "GET", f"/vms/{vm}")
        requests.ask("get_firewall", vm, "GET", f"/vms/{vm}/firewall")
    for image in sorted(run.names["images"]):
        requests.ask("get", image, "GET", f"/images/{image}")
    requests.ask("get_policy", "firewall", "GET", "/firewall")
    for name in sorted(run.names["sets"]):
        requests.ask("get_set", "firewall", "GET", f"/firewall/sets/{name}", args={"name": name})


def count_of(events, resource, prefix):
    return {"created": model.count_events(events, f"{prefix}.created", resource), "deleted": model.count_events(events, f"{prefix}.deleted", resource),
            "changed": model.count_events(events, "firewall.changed", resource)}


def check_histories(run, events):
    """The three kinds of objects against their models, with the events that each must have."""
    at = run.now()
    histories = collections.defaultdict(list)
    for op in run.ops:
        histories[op.target].append(op)

    def counted(target, body):
        return [*histories[target], Op("count", target, at, at + 1, status=200, body=body)]

    found = {"VM writes": [], "image writes": [], "firewall writes": []}
    for vm in sorted(run.names["vms"]):
        found["VM writes"].append(model.check(counted(vm, count_of(events, f"/vms/{vm}", "vm")), model.vm_object(model.ends_of(events, vm)), model.vm_step, model.vm_drift))
    for image in sorted(run.names["images"]):
        found["image writes"].append(model.check(counted(image, count_of(events, f"/images/{image}", "image")), model.IMAGE_OBJECT, model.image_step, model.image_drift))
    body = {"changed": model.count_events(events, "firewall.changed", "/firewall")}
    found["firewall writes"].append(model.check(counted("firewall", body), model.FIREWALL_OBJECT, model.firewall_step))
    return {test: [fault for fault in faults if fault] for test, faults in found.items()}


def check_policies(world):
    """The chains of the VMs' own policies: those of VMs that run and have one."""
    vms = world.client.items("/vms")
    owners = sum(1 for vm in vms if vm["state"] in ("running", "paused") and world.client.json(f"/vms/{vm['id']}/firewall")["own"])
    chains = [entry["chain"]["name"] for entry in world.daemon.netns.ruleset() if "chain" in entry and entry["chain"]["name"].startswith("vm_")]
    return [] if len(chains) == 2 * owners else [f"{owners} VMs that run have a policy of their own, and there are the chains {chains}"]


def check_ports(world):
    wanted = sorted(p["host_port"] for vm in world.client.items("/vms") if vm["state"] in ("running", "paused") for p in vm["ports"])
    for entry in world.daemon.netns.ruleset():
        if entry.get("map", {}).get("name") == "ports_tcp" and entry["map"]["table"] == world.daemon.mark:
            text = json.dumps(entry["map"].get("elem", []))
            found = sorted(int(port) for port in re.findall(r"\b(9\d\d\d)\b", text))
            return [] if found == wanted else [f"ports {found} are published, and wanted are {wanted}"]
    return ["there is no map of the ports"]


def eventually_none(look, seconds=10):
    """The last differences that were found, if they don't go."""
    end = time.monotonic() + seconds
    while (found := look()) and time.monotonic() < end:
        time.sleep(0.1)
    return found


def attempt(run, test, work):
    """Runs a check; what it returns or raises are the test's faults."""
    try:
        run.faults[test] += work() or []
    except Exception:  # noqa: BLE001
        run.faults[test].append(traceback.format_exc())


def run_clients(run, seconds):
    clients = [Client(run, number) for number in range(CLIENTS)]
    disturber, reader = Disturber(run), Reader(run)
    threads = [*clients, disturber]
    for thread in (reader, Watcher(run), Guard(run), *threads):
        thread.start()
    time.sleep(seconds)
    run.stop.set()
    for thread in threads:
        thread.join(120)
        if thread.is_alive():
            run.fault("answers", f"{thread.name} does not end")
    return disturber, reader


def check_all(run, disturber, reader):
    world, daemon = run.world, run.world.daemon
    attempt(run, "rest", lambda: settle(world))
    attempt(run, "answers", lambda: read_everything(run))
    events = []
    attempt(run, "event sequence", lambda: events.extend(world.events()))
    attempt(run, "lives", lambda: model.check_image_lives(events, {image["id"]: image["state"] for image in world.client.items("/images")}))
    for test, faults in check_histories(run, events).items():
        run.faults[test] += faults
    attempt(run, "host", world.check_host)
    attempt(run, "host", lambda: eventually_none(lambda: check_policies(world)))
    attempt(run, "host", lambda: eventually_none(lambda: check_ports(world)))
    attempt(run, "leaks", lambda: remove_everything(world))
    attempt(run, "event sequence", lambda: check_events(run))
    run.over.set()
    attempt(run, "lives", lambda: model.check_lives(run.seen))
    attempt(run, "lives", lambda: model.check_known(run.seen, run.names["vms"], run.names["images"] | {"tiny"}))
    attempt(run, "identities", lambda: model.check_uids(run.sightings) + model.check_shared(run.sightings) + model.check_listed(run.lists))
    attempt(run, "generations", lambda: model.check_generations(run.sightings))
    log = daemon.log_path.read_text(errors="replace")
    for process, killed in (("api", disturber.apis_killed), ("keeper", disturber.keepers_killed)):
        ended = len(re.findall(rf"event={process}\.ended", log))
        if ended > killed:
            run.fault("daemon", f"the process '{process}' ended {ended} times, and was killed {killed} times")
    if reader.connections < 2 and disturber.apis_killed > 1:
        run.fault("event sequence", "the reader was never cut off")


def check_events(run):
    everything = run.world.events()
    try:
        eventually(lambda: run.seen and int(run.seen[-1]["id"]) >= int(everything[-1]["id"]), "the last event", 15)
    except AssertionError:
        pass  # told as a difference
    everything = run.world.events()
    time.sleep(0.5)
    return model.check_sequence(list(run.seen), everything)


def remove_everything(world):
    world.client.put("/firewall", {}, wait=10)
    for entry in world.client.items("/firewall/sets"):
        world.ok(world.client.delete(f"/firewall/sets/{entry['name']}"), 204)
    world.clean()


TESTS = {
    "answers": "every request was answered, as openapi.yaml says",
    "VM writes": "acknowledged writes of VMs are there, deleted ones stay gone, a key has one effect, an event each",
    "image writes": "the same of images",
    "firewall writes": "the same of the host-wide policy and the address sets",
    "identities": "no uid, address, TAP, MAC, port or process of two VMs at once",
    "generations": "generations never go back",
    "event sequence": "every event once and in order, over all connections of a reader",
    "lives": "the events of a VM are one life after the other, and nobody else's",
    "rest": "when nothing disturbs any more, everything is as wanted",
    "one VMM": "no VM ever had two VMMs",
    "host": "the host is as the API says",
    "leaks": "nothing is left when all is deleted",
    "daemon": "neither process ended by itself, and no sanitizer had something to say",
}


def report(run, reader):
    failed = [test for test in TESTS if run.faults[test]]
    for test in failed:
        for text in run.faults[test][:3]:
            print(f"FAILED {TESTS[test]}:\n{text}")
        if len(run.faults[test]) > 3:
            print(f"… and {len(run.faults[test]) - 3} more of this kind")
    unknown = sum(1 for op in run.ops if op.unknown)
    answered = collections.Counter("acknowledged" if op.done else "refused" for op in run.ops if not op.unknown and not op.kind.startswith("get"))
    kinds = collections.Counter(op.kind for op in run.ops)
    print(f"random: {run.decisions} decisions, {len(run.ops)} operations ({', '.join(f'{kind} {count}' for kind, count in kinds.most_common())})")
    print(f"random: writes: {answered['acknowledged']} acknowledged, {answered['refused']} refused; {unknown} operations with an unknown outcome")
    print(f"random: {len(run.seen)} events over {reader.connections} connections; {len(run.sightings)} sightings, {len(run.lists)} lists")
    print(f"random: disturbances: {', '.join(f'{kind} {count}' for kind, count in sorted(run.disturbances.items()))}")
    print(f"{len(TESTS) - len(failed)} passed, {len(failed)} failed, 0 skipped")
    return failed


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, help="default: always the same, but with --long another one each time")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--long", action="store_true", help="ten minutes")
    parser.add_argument("--keep-log", help="where the daemon's log is copied to")
    options = parser.parse_args()
    seconds = options.seconds or (600 if options.long else 60)
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1, 2**31) if options.long else SEED
    print(f"random: seed {seed}, {seconds:g} s; again: tests/fault/random.sh --seed {seed} --seconds {seconds:g}", flush=True)
    run = Run(RandomWorld(), seed)
    disturber, reader = run_clients(run, seconds)
    check_all(run, disturber, reader)
    if options.keep_log:
        Path(options.keep_log).write_bytes(run.world.daemon.log_path.read_bytes())
    attempt(run, "daemon", lambda: run.world.close())
    return 1 if report(run, reader) else 0


if __name__ == "__main__":
    sys.exit(main())
