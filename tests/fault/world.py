"""One daemon, what a test may do to it, and the model that must hold when it has settled."""

import http.client
import json
import os
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "api"))

import disks  # noqa: E402
import model  # noqa: E402
from client import parse_events  # noqa: E402
from daemon import BINARY, Daemon  # noqa: E402, F401
from host import eventually, held_uids  # noqa: E402

SETTINGS = {"network": {"ipv6_subnet": "fd12:3456:789a::/64"}, "vmm": {"api_timeout_s": 1, "start_timeout_s": 4, "stop_timeout_s": 2, "workers": 2}}
RESTING = ("running", "paused", "stopped", "failed")


class World:
    def __init__(self):
        self.daemon = Daemon(SETTINGS)
        self.client = self.daemon.client
        self.fault_path = self.daemon.run_dir / "fault"
        self.log_path = self.daemon.run_dir / "fault.log"
        self.was_there = False
        self.reply = None  # to the last request of ask()
        self.last_event = 0  # that was checked
        self.daemon.start()
        self.daemon.add_tiny("tiny", read_only=False)
        self.check_events()

    # The fault file: see core/fault.h. A new file each time, so that the daemon sees a change for sure.

    def set_fault(self, line):
        self.clear_fault()
        new = self.fault_path.with_suffix(".new")
        new.write_text(line + "\n")
        os.chmod(new, 0o666)
        os.rename(new, self.fault_path)

    def clear_fault(self):
        self.fault_path.unlink(missing_ok=True)

    def fault_fired(self):
        return self.fault_path.exists() and self.fault_path.read_bytes()[:1] == b"#"

    def record(self, work):
        """The places that `work` passes, as (role, point), in order."""
        self.log_path.write_text("")
        os.chmod(self.log_path, 0o666)
        self.set_fault("record")
        work()
        self.clear_fault()
        found = [tuple(line.split()) for line in self.log_path.read_text().splitlines()]
        self.log_path.unlink()
        return found

    # Requests

    def body(self, vm, state="running"):
        return {
            "id": vm,
            "image": "tiny",
            "vmm": "firecracker",
            "desired_state": state,
            "boot_args": "tiny=ctrlaltdel",
            "machine_config": {"mem_size_mib": 32},
            "network_interfaces": [{"iface_id": "eth0"}, {"iface_id": "eth1"}],
        }

    def ok(self, reply, *statuses):
        assert reply.status in statuses, f"{reply!r}"
        return reply

    def create(self, vm, state, **extra):
        reply = self.ok(self.client.post("/vms", {**self.body(vm, state), **extra}, wait=15), 201)
        assert reply.json["state"] == state, f"{reply!r}"

    def add_image(self, name):
        manifest = self.daemon.tiny_manifest(name)
        rootfs = self.daemon.images / f"{name}.img"
        rootfs.write_bytes(disks.ext4(name.encode()))
        manifest["rootfs"]["path"] = str(rootfs)
        self.ok(self.client.post("/images", {"manifest": manifest}, wait=15), 201)

    def vm(self, vm):
        reply = self.client.get(f"/vms/{vm}")
        return reply.json if reply.status == 200 else None

    def await_vm_state(self, vm, state, timeout=15):
        eventually(lambda: (self.vm(vm) or {}).get("state") == state, f"{vm} {state}", timeout)

    def ask(self, request, wait=3):
        """The one request, whose answer may be anything; was it acknowledged? A function is something that happens on the host instead."""
        if callable(request):
            request()
            return True
        method, path, body = request
        try:
            reply = self.client.request(method, path, body, timeout=8, **({"wait": wait} if wait else {}))
        except Exception:  # noqa: BLE001: the connection broke in one of many ways
            return False
        self.reply = reply
        # What was waited for and ended in failure was acknowledged all the same: the resource is there.
        ended = reply.status >= 400 and reply.json["resource"] is not None
        if reply.status not in (200, 201, 202, 204, 500, 503, 507, 504) and not ended:
            raise AssertionError(f"an answer that no fault explains: {reply!r}")
        return reply.status < 300 or ended

    def stop(self):
        if self.daemon.is_running():
            self.daemon.stop()

    def pause(self, seconds):
        time.sleep(seconds)

    def await_that(self, probe, what, timeout=15):
        eventually(probe, what, timeout)

    def forget_repairs(self):
        """So many were needed by the cases before that somebody would seem to undo them, and they would wait."""
        self.ok(self.client.post("/drift/repair", wait=10), 201)

    def skip_events(self):
        """The next events get numbers at which the store is trimmed, and beyond what it holds: see db/events.c."""
        with closing(sqlite3.connect(self.daemon.base / "state" / "db" / "smartvm.db", timeout=10)) as database, database:
            last = database.execute("SELECT seq FROM sqlite_sequence WHERE name = 'events'").fetchone()[0]
            database.execute("UPDATE sqlite_sequence SET seq = ? WHERE name = 'events'", ((max(last, 400 * 256) // 256 + 500) * 256 - 2,))

    def await_applied(self, path):
        eventually(lambda: self.client.json(path)["conditions"][0]["status"] == "true", f"{path} in force", 15)

    def await_bridge(self):
        def ours():
            link = self.daemon.netns.links().get(self.daemon.bridge, {})
            return link.get("up") and link["alias"] == f"{self.daemon.mark}:bridge"

        eventually(ours, "the bridge", 30)

    def await_network(self):
        def ready():
            conditions = {c["type"]: c["status"] for c in self.client.json("/network")["conditions"]}
            return conditions.get("ready") == "true"

        eventually(ready, "a network that is set up", 30)

    def tunnel(self):
        """What of a tunnel is on the host: (rules, routes, links and processes)."""
        netns = self.daemon.netns
        rules = [r["table"] for r in json.loads(netns.ip("-j", "rule")) if r["priority"] == 5100]
        routes = {table: sorted(line.partition(" dev ")[0].partition(" proto ")[0] for line in netns.ip("route", "show", "table", table, check=False).splitlines())
                  for table in ("51820", "4711")}
        links = [name for name, link in netns.links().items() if link["alias"] == f"{self.daemon.mark}:wireguard"]
        pids = [pid for pid in netns.pids() if Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"wireguard-go:")]
        uplinks = netns.set_elements(self.daemon.mark, "uplink")
        return rules, {table: routes for table, routes in routes.items() if routes}, links, len(pids), uplinks

    def await_tunnel(self, name, table=51820):
        subnet = self.daemon.config["network"]["subnet"]
        wanted = ([str(table)], {str(table): sorted(["default", "unreachable default", subnet])}, [name], 1, [name])
        eventually(lambda: self.client.json("/network/wireguard")["state"] == "up", "the tunnel", 30)
        try:
            eventually(lambda: self.tunnel() == wanted, f"the host with the tunnel {name}", 15)
        except AssertionError as e:
            raise AssertionError(f"{e}: {self.tunnel()} instead of {wanted}") from None

    def await_no_tunnel(self):
        assert self.client.get("/network/wireguard").status == 404
        eventually(lambda: self.tunnel() == ([], {}, [], 0, ["up0"]), "the host without a tunnel", 15)

    def come_up(self):
        """The daemon runs and is ready, whatever has died."""
        for _ in range(3):
            if not self.daemon.is_running():
                self.daemon.spawn()
            try:
                self.daemon.await_ready()
                return
            except AssertionError:
                if self.daemon.is_running():
                    raise
        raise AssertionError("the daemon does not come up\n" + self.daemon.log_tail())

    def await_worker(self):
        """It answers itself, so it is not one that was killed a moment ago and is only still seen."""

        def answers():
            try:
                return self.client.get("/drift").status == 200
            except (OSError, http.client.HTTPException):
                self.come_up()
                return False

        self.await_that(answers, "an answer of the worker")

    # The model

    def await_network(self):
        eventually(lambda: all(c["status"] == "true" for c in self.client.json("/network")["conditions"] if c["type"] == "ready"), "a network that is ready")

    def await_pid_other_than(self, pid):
        eventually(lambda: self.vm("subject")["vmm"]["pid"] != pid, f"the end of the VMM {pid} is noted")

    def at_rest(self):
        vms = self.client.items("/vms")
        return vms if all(v["generation"] == v["observed_generation"] and v["state"] in RESTING for v in vms) else None

    def settle(self):
        end = time.monotonic() + 20
        while True:
            if not self.daemon.is_running():
                assert self.fault_fired(), "the daemon died, and not by a fault\n" + self.daemon.log_tail()
                self.come_up()
            try:
                found = self.at_rest()
                if found is not None:
                    return found
            except (OSError, AssertionError):
                pass
            if time.monotonic() > end:
                raise AssertionError(f"not at rest: {self.client.items('/vms')}\n{self.daemon.log_tail()}")
            time.sleep(0.02)

    def reserved(self, vms):
        """(memory in MiB, vCPUs, interfaces) that GET /host says, and that VMs have: of one that runs and was made smaller nobody but the daemon knows."""
        capacity = self.client.json("/host")["capacity"]
        drives = {i["id"]: 0 if i["rootfs_is_read_only"] else -(-i["rootfs"]["size_bytes"] // (1 << 20)) for i in self.client.items("/images") if i["state"] == "ready"}
        sizes = [v["machine_config"] for v in vms]
        memory = sum(s["mem_size_mib"] + s["mem_size_mib"] // 64 + 64 for s in sizes) + sum(drives.get(v["image"], 0) for v in vms)
        found = [capacity[name]["reserved"] for name in ("memory_mib", "vcpus", "bridge_ports")]
        expected = [memory, sum(s["vcpu_count"] for s in sizes), sum(len(v["network_interfaces"]) for v in vms)]
        if any("machine_config" in v["pending_reboot"] for v in vms):
            found[:2] = [max(pair) == pair[0] for pair in zip(found, expected)][:2]  # at least so much
            expected[:2] = [True, True]
        return found, expected

    def check_host(self):
        """What runs, which TAPs, elements, leases and files there are: as the API says, nothing else."""
        def differences():
            vms = self.client.items("/vms")
            alive = [v for v in vms if v["state"] in ("running", "paused")]
            taps = sorted(i["tap"] for v in alive for i in v["network_interfaces"])
            netns = self.daemon.netns
            pairs = {
                "VMMs": (self.daemon.vmm_pids(), sorted(v["vmm"]["pid"] for v in alive)),
                "TAPs": (sorted(n for n, link in netns.links().items() if link["kind"] == "tun" and n.startswith(self.daemon.tap_prefix)), taps),
                "elements": (sorted(e["concat"][0] for e in netns.set_elements(self.daemon.mark, "guest4") or []), taps),
                "leases": (len([e for e in self.client.items("/network/leases") if e.get("vm") or e.get("vm_id")]),
                           sum(len(v["network_interfaces"]) for v in vms)),
                "reserved": self.reserved(vms),
                "uids": (sorted(held_uids(self.daemon.config["state_dir"]).items()), sorted((v["id"], v["vmm"]["uid"]) for v in alive)),
                "staged": (sorted(p.name for p in (self.daemon.stage_dir / self.daemon.mark).iterdir()), sorted(v["id"] for v in alive)),
            }
            return {what: pair for what, pair in pairs.items() if pair[0] != pair[1]}

        def look():
            try:
                return differences()
            except OSError:
                self.settle()  # a fault that struck only now
                return {"the daemon": "died"}

        end = time.monotonic() + 10
        while found := look():
            if time.monotonic() > end:
                raise AssertionError(f"the host is not as the API says (found, expected): {found}\n{self.daemon.log_tail()}")
            time.sleep(0.05)

    def events(self, after=0):
        with self.client.stream("/events", {"Last-Event-ID": str(after)}, follow="false") as stream:
            return parse_events(stream.read_all(30).decode())

    def check_events(self):
        """Those since the last time: none missing, and whole lives, as nothing is there any more. None for `last_event`: it is not known which comes next."""
        events = self.events(self.last_event or 0)
        faults = model.check_sequence(events, events) if self.last_event is not None else []
        if events and self.last_event is not None and int(events[0]["id"]) != self.last_event + 1:
            faults.append(f"event {events[0]['id']} follows {self.last_event}")
        if self.last_event is not None:
            faults += model.check_lives(events, ended=True) + model.check_image_lives(events)
        assert not faults, faults
        self.last_event = int(events[-1]["id"]) if events else self.last_event

    def descriptors(self):
        return len(os.listdir(f"/proc/{self.daemon.pid}/fd"))

    def clean(self):
        """Everything is deleted; nothing is left, and every descriptor is closed."""
        for vm in self.client.items("/vms"):
            self.ok(self.client.delete(f"/vms/{vm['id']}", wait=15), 204, 404)
        for image in self.client.items("/images"):
            if image["id"] != "tiny":
                self.ok(self.client.delete(f"/images/{image['id']}", wait=15), 204, 404)
        self.ok(self.client.delete("/network/wireguard", wait=15), 204, 404)
        self.ok(self.client.put("/firewall", {}, wait=15), 200)
        for entry in self.client.items("/firewall/sets"):
            self.ok(self.client.delete(f"/firewall/sets/{entry['name']}"), 204)
        self.daemon.await_no_leaks()
        self.await_no_tunnel()

    def close(self):
        self.daemon.close()
