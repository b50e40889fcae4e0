"""What the clients of random_run.py ask for: made from the seed alone, so that it does not depend on the answers."""

import random

import model
from model import ALLOW, DENY

OWN, SHARED = 3, 3  # VMs of one client, and of all

POLICIES = [
    {"egress": DENY},
    {"egress": {"default_action": "deny", "rules": [{"action": "allow", "to": ["203.0.113.0/24"], "protocol": "tcp", "ports": [443]}]}},
    {"ingress": ALLOW},
    {"egress": ALLOW, "ingress": {"default_action": "deny", "rules": [{"action": "allow", "from": ["198.51.100.0/30"], "protocol": "all"}]}},
]
PATCHES = [{"egress": None}, {"ingress": None}, {"egress": DENY}, {"ingress": ALLOW}]
ADDRESSES = [[], ["203.0.113.0/24"], ["198.51.100.7/32", "203.0.113.0/24"], ["2001:db8::/32"]]


class Decisions:
    """An endless list of (what, arguments). It goes by what would be if every request worked, so that most requests make sense."""

    def __init__(self, seed, number):
        self.rng = random.Random(f"{seed}/client/{number}")
        self.number, self.count = number, 0
        self.expected = {f"c{number}-{n}": "absent" for n in range(OWN)} | {f"shared-{n}": "absent" for n in range(SHARED)}
        self.image = f"image-{number}"

    def __iter__(self):
        while True:
            self.count += 1
            yield self.next()

    def next(self):
        rng = self.rng
        wait = rng.choice((None, None, 1, 4))
        kind = rng.choices(("vm", "image", "policy", "set", "anonymous"), (82, 5, 4, 6, 3))[0]
        if kind == "vm":
            own = rng.random() < 0.8
            return self.of_vm(rng.choice([vm for vm in self.expected if vm.startswith("c") == own]), wait)
        if kind == "image":
            return rng.choice(("image_create", "image_delete", "image_create", "image_get")), {"image": rng.choice((self.image, "image-shared")), "keyed": rng.random() < 0.5, "wait": wait}
        if kind == "policy":
            return "policy", {**self.policy(rng), "match": rng.random() < 0.3, "wait": wait}
        if kind == "set":
            return rng.choice(("set_put", "set_put", "set_delete", "set_get")), {"name": f"set{rng.randrange(3)}", "addresses": rng.choice(ADDRESSES), "wait": wait}
        return "anonymous", {"wait": wait}

    def policy(self, rng, delete=False):
        method = rng.choice(("PUT", "PATCH", "DELETE") if delete else ("PUT", "PATCH"))
        return {"method": method, "body": rng.choice(POLICIES) if method == "PUT" else rng.choice(PATCHES) if method == "PATCH" else None}

    def ports(self):
        """Of a range of its own, so that most are free, and one port that all want."""
        rng = self.rng
        host_ports = rng.sample([9000 + 10 * self.number + n for n in range(4)] + [9999], rng.randrange(3))
        return [{"host_port": port, "guest_port": 80, "protocol": "tcp"} for port in host_ports]

    def labels(self, nulls):
        rng = self.rng
        return {key: f"{self.number}.{self.count}" if not nulls or rng.random() < 0.8 else None for key in rng.sample("abc", rng.randrange(1, 3))}

    def of_vm(self, vm, wait):
        rng, state = self.rng, self.expected[vm]
        if state == "absent":
            choice = rng.choices(("create", "get", "act", "delete"), (90, 4, 3, 3))[0]
        else:
            choice = rng.choices(("act", "patch", "firewall", "get", "delete", "create"), (45, 20, 10, 12, 11, 2))[0]
        if choice == "create":
            desired = rng.choices(("running", "stopped", "paused"), (70, 20, 10))[0]
            self.expected[vm] = desired
            body = {"desired_state": desired, "labels": self.labels(False), "ports": self.ports(), "image": self.image if rng.random() < 0.1 else "tiny"}
            if rng.random() < 0.25:
                body["firewall"] = rng.choice(POLICIES)
            return "create", {"vm": vm, "body": body, "keyed": rng.random() < 0.5, "wait": wait}
        if choice == "act":
            usual = {"running": ("stop", "kill", "pause", "reboot", "stop"), "paused": ("resume", "kill", "stop"), "stopped": ("start",), "absent": ("start",)}[state]
            action = rng.choice(usual if rng.random() < 0.9 else tuple(model.ACTIONS))
            if state != "absent":
                self.expected[vm] = model.ACTIONS[action]
            return "act", {"vm": vm, "action": action, "timeout": rng.choice((None, 0, 1)), "keyed": rng.random() < 0.4, "wait": wait}
        if choice == "patch":
            part = rng.choice(("labels", "labels", "ports", "machine_config", "desired_state"))
            if part == "desired_state":
                self.expected[vm] = rng.choice(("running", "stopped"))
            value = {"labels": lambda: self.labels(True), "ports": self.ports, "machine_config": lambda: {"mem_size_mib": rng.choice((32, 40, 48))},
                     "desired_state": lambda: self.expected[vm]}[part]()
            return "patch", {"vm": vm, "body": {part: value}, "match": rng.random() < 0.3, "wait": wait}
        if choice == "firewall":
            return "firewall", {"vm": vm, **self.policy(rng, delete=True), "wait": wait}
        if choice == "delete":
            self.expected[vm] = "absent"
            return "delete", {"vm": vm, "match": rng.random() < 0.2, "wait": wait}
        return rng.choice(("get", "get", "get_firewall")), {"vm": vm}


