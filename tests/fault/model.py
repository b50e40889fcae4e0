"""
The model that a history of requests is checked against: pure, without a daemon. test_model.py shows that it can fail.

A history is a list of Op for each object. Requests of several clients overlap, and some have no answer; so the model does not know one state but keeps
the set of all states that the object may be in (what is called a linearizability check). An answer leaves those that it fits. None left: a write was
lost, happened twice, or was never asked for.
"""

import collections
import dataclasses
import json
import re

INFINITE = float("inf")
CONFIGURATIONS_MAX = 100_000
HISTORY_SHOWN = 80


@dataclasses.dataclass
class Op:
    """One request: `status` None is an unknown outcome, which happened between `invoked` and `returned` or not at all."""

    kind: str
    target: str
    invoked: float
    returned: float
    args: dict = dataclasses.field(default_factory=dict)
    client: str = ""
    key: str = None           # Idempotency-Key
    replayed: bool = False    # the answer says that it is that of an earlier request with this key
    since: tuple = None       # (uid, generation) of the resource whose ETag was given as If-Match
    status: int = None
    code: str = None
    detail: str = ""
    uid: int = None           # of the VM, from the answer's ETag
    body: dict = None         # None: nothing is said about the state
    own: bool = True          # `body` is of the very moment of the write, not of one later

    @property
    def unknown(self):
        return self.status is None or self.status >= 500

    @property
    def done(self):
        """Acknowledged. A write whose resource was deleted while the client waited has happened, too."""
        return not self.unknown and (self.status < 400 or (self.status == 404 and "in the meantime" in self.detail))

    def __str__(self):
        answer = "unknown" if self.unknown else f"{self.status} {self.code or ''}".strip()
        extra = "".join(f" {name}={value}" for name, value in (("key", self.key), ("if-match", self.since), ("replayed", self.replayed or None)) if value)
        seen = f" uid {self.uid}" if self.uid else ""
        if self.body is not None:
            shown = {k: v for k, v in self.body.items() if k in ("generation", "desired_state", "state", "labels", "egress", "ingress", "own", "addresses", "created", "deleted", "changed")}
            seen += f" {json.dumps(shown)[:400]}"
        return f"[{self.invoked:9.3f} {self.returned:9.3f}] {self.client} {self.kind} {self.target} {json.dumps(self.args)}{extra} -> {answer}{seen}"


def _closure(configurations, pending, step, drift):
    """With everything that may have happened by now without being seen yet."""
    found, todo = set(configurations), list(configurations)
    while todo:
        state, done = todo.pop()
        after = [(new, done) for new in drift(state)]
        for number, op in pending.items():
            if number not in done:
                after += [(new, done | {number}) for new in step(state, op)]
        for configuration in after:
            if configuration not in found:
                found.add(configuration)
                todo.append(configuration)
        if len(found) > CONFIGURATIONS_MAX:
            raise OverflowError(f"more than {CONFIGURATIONS_MAX} possible states: the history is too wide to be checked")
    return found


def check(ops, initial, step, drift=lambda state: ()):
    """None, or in words why no order of the requests explains their answers."""
    times = sorted([(op.invoked, 0, number) for number, op in enumerate(ops)] + [(op.returned, 1, number) for number, op in enumerate(ops)])
    configurations, pending = {(initial, frozenset())}, {}
    for _, ends, number in times:
        if not ends:
            pending[number] = ops[number]
            continue
        before = _closure(configurations, pending, step, drift)
        op = pending.pop(number)
        configurations = {(state, done - {number}) for state, done in before if op.unknown or number in done}
        if not configurations:
            history = "\n  ".join([str(o) for o in sorted(ops, key=lambda o: o.invoked) if o.invoked <= op.returned][-HISTORY_SHOWN:])
            states = "\n  ".join(sorted({str(state) for state, _ in before})[:20])
            return f"nothing explains the answer of\n  {op}\nPossible before it:\n  {states}\nHistory of {op.target}:\n  {history}"
    return None


# VMs: what is wanted of one id, over all VMs that have it one after the other

Vm = collections.namedtuple("Vm", "uid desired labels ports memory deleting generation policy")
# keys: of POSTs that had their effect. created, deleted, changed: how many events there must be. ends: how many ends of its VMM are still unexplained.
VmObject = collections.namedtuple("VmObject", "vm keys created deleted changed ends")
NO_POLICY = None


def vm_object(ends=0):
    return VmObject(None, frozenset(), 0, 0, 0, ends)


def frozen(value):
    return json.dumps(value, sort_keys=True)


def frozen_policy(policy):
    """What a rule does not say is null in an answer."""
    return frozen({**policy, "rules": [{k: v for k, v in rule.items() if v is not None} for rule in policy["rules"]]})


ALLOW, DENY = ({"default_action": action, "rules": []} for action in ("allow", "deny"))
DEFAULT = (frozen_policy(ALLOW), frozen_policy(DENY))


def policy_after(before, method, body):
    """`before` is (egress, ingress) or NO_POLICY."""
    if method == "DELETE":
        return NO_POLICY
    old = before if before is not NO_POLICY and method == "PATCH" else DEFAULT
    return tuple(frozen_policy(body[name]) if body.get(name) is not None else default if name in body or method == "PUT" else kept
                 for name, default, kept in zip(("egress", "ingress"), DEFAULT, old))


def policy_fits(policy, body):
    if "own" in body and body["own"] != (policy is not NO_POLICY):
        return False
    return (policy or DEFAULT) == (frozen_policy(body["egress"]), frozen_policy(body["ingress"]))


def ports_of(ports):
    return frozen([[p["host_port"], p["guest_port"], p.get("protocol", "tcp")] for p in ports])


def _labels_after(labels, changes):
    merged = {**json.loads(labels), **changes}
    return frozen({key: value for key, value in merged.items() if value is not None})


def _same_vm(vm, op):
    """The VM as the answer shows it: with its uid if that was not known yet; None if it is another."""
    if vm is None or op.uid is not None and vm.uid not in (None, op.uid):
        return None
    return vm if op.uid is None else vm._replace(uid=op.uid)


def _shown(vm, op):
    """Does the answer's body show this VM? It then."""
    vm = _same_vm(vm, op)
    body = op.body
    if vm is None or body is None:
        return vm
    fits = (vm.deleting == (body["state"] == "deleting") and vm.generation == body["generation"] and vm.desired == body["desired_state"]
            and vm.labels == frozen(body["labels"]) and vm.ports == ports_of(body["ports"]) and vm.memory == body["machine_config"]["mem_size_mib"])
    return vm if fits else None


ACTIONS = {"start": "running", "resume": "running", "pause": "paused", "stop": "stopped", "kill": "stopped", "reboot": "running"}


def _vm_created(args):
    return Vm(None, args.get("desired_state", "running"), frozen(args.get("labels", {})), ports_of(args.get("ports", [])), args["machine_config"]["mem_size_mib"], False, 1,
              policy_after(NO_POLICY, "PUT", args["firewall"]) if "firewall" in args else NO_POLICY)


def _acted(vm, action):
    new = vm._replace(desired=ACTIONS[action], generation=vm.generation + 1)
    # A second wish for the same is a write or is none, by what was observed and how it shall end.
    return [new] if action == "reboot" or vm.desired != new.desired else [vm, new]


def _patched(vm, args):
    new = vm._replace(labels=_labels_after(vm.labels, args.get("labels", {})),
                      ports=ports_of(args["ports"]) if "ports" in args else vm.ports,
                      memory=args.get("machine_config", {}).get("mem_size_mib", vm.memory),
                      desired=args.get("desired_state", vm.desired))
    if new != vm:
        return [new._replace(generation=vm.generation + 1)]
    # Wanting a VM up that has ended is another boot, though nothing that is shown differs.
    return [vm, vm._replace(generation=vm.generation + 1)] if args.get("desired_state", "stopped") != "stopped" else [vm]


def _vm_write(o, op):
    """The objects after the request had its effect; none if it can't have one."""
    vm = o.vm
    if op.kind == "create":
        return [o._replace(vm=_vm_created(op.args), created=o.created + 1)] if vm is None else []
    if vm is None:
        return []
    if op.since is not None and op.kind != "firewall" and (vm.uid not in (None, op.since[0]) or vm.generation != op.since[1]):
        return []
    if op.kind == "delete":
        return [o._replace(vm=vm if vm.deleting else vm._replace(deleting=True, generation=vm.generation + 1))]
    if op.kind == "firewall":
        return [o._replace(vm=vm._replace(policy=policy_after(vm.policy, op.args["method"], op.args["body"])), changed=o.changed + 1)]
    if vm.deleting:
        return []
    after = _acted(vm, op.args["action"]) if op.kind == "act" else _patched(vm, op.args)
    return [o._replace(vm=new) for new in after]


def _vm_read(o, op):
    if op.kind == "count":
        return [o] if (o.created, o.deleted, o.changed) == tuple(op.body[name] for name in ("created", "deleted", "changed")) else []
    if op.status == 404:
        return [o] if o.vm is None else []
    if op.kind == "get_firewall":
        return [o] if o.vm is not None and policy_fits(o.vm.policy, op.body) else []
    vm = _shown(o.vm, op)
    return [o._replace(vm=vm)] if vm is not None else []


def vm_step(o, op):
    if op.kind in ("get", "get_firewall", "count"):
        return _vm_read(o, op)
    if op.key is not None and op.key in o.keys:
        return [o] if op.unknown or op.replayed else []
    if op.replayed:
        return []
    if not op.unknown and not op.done:
        if op.status == 404:
            return [o] if o.vm is None else []
        if op.code in ("ALREADY_EXISTS", "INVALID_STATE", "PRECONDITION_FAILED"):
            return [o] if o.vm is not None else []
        return [o]
    after = [new._replace(keys=new.keys | {op.key}) if op.key else new for new in _vm_write(o, op)]
    if op.unknown or op.status == 404:
        return after
    if op.kind == "firewall":
        return [new for new in after if op.body is None or policy_fits(new.vm.policy, op.body)]
    shown = [(new, _shown(new.vm, op)) for new in after]
    return [new._replace(vm=vm) for new, vm in shown if vm is not None]


def vm_drift(o):
    """What the daemon does by itself: a VM that shall go goes, one whose VMM has ended is not wanted up any more."""
    if o.vm is None:
        return []
    if o.vm.deleting:
        return [o._replace(vm=None, deleted=o.deleted + 1)]
    if o.vm.desired != "stopped" and o.ends > 0:
        return [o._replace(vm=o.vm._replace(desired="stopped", generation=o.vm.generation + 1), ends=o.ends - 1)]
    return []


# Images

ImageObject = collections.namedtuple("ImageObject", "there deleting keys created deleted")
IMAGE_OBJECT = ImageObject(False, False, frozenset(), 0, 0)


def image_step(o, op):
    if op.kind == "count":
        return [o] if (o.created, o.deleted) == (op.body["created"], op.body["deleted"]) else []
    if op.kind == "get":
        return [o] if o.there == (op.status == 200) and (not o.there or o.deleting == (op.body["state"] == "deleting")) else []
    if op.key is not None and op.key in o.keys:
        return [o] if op.unknown or op.replayed else []
    if op.replayed:
        return []
    if not op.unknown and not op.done:
        fits = {404: not o.there, 409: o.there}
        return [o] if fits.get(op.status, False) else []
    if op.kind == "image_create":
        keys = o.keys | {op.key} if op.key else o.keys
        return [] if o.there else [o._replace(there=True, deleting=False, keys=keys, created=o.created + 1)]
    return [o._replace(deleting=True)] if o.there else []


def image_drift(o):
    return [o._replace(there=False, deleting=False, deleted=o.deleted + 1)] if o.deleting else []


# The host-wide policy and the address sets: one object, as one refers to the other and their events are the same

FirewallObject = collections.namedtuple("FirewallObject", "policy sets changed")
FIREWALL_OBJECT = FirewallObject(DEFAULT, frozenset(), 0)


def addresses_of(addresses):
    return frozen(sorted(addresses))


def _set_named(o, name):
    return next((addresses for known, addresses in o.sets if known == name), None)


def _without_set(o, name):
    return frozenset((known, addresses) for known, addresses in o.sets if known != name)


def firewall_step(o, op):
    if op.kind == "count":
        return [o] if o.changed == op.body["changed"] else []
    name = op.args.get("name")
    if op.kind == "get_policy":
        return [o] if policy_fits(o.policy, op.body) else []
    if op.kind == "get_set":
        there = _set_named(o, name)
        return [o] if (there is None if op.status == 404 else there == addresses_of(op.body["addresses"])) else []
    if not op.unknown and not op.done:
        fits = {404: name is not None and _set_named(o, name) is None, 409: name is not None, 412: op.since is not None}
        return [o] if fits.get(op.status, False) else []
    changed = o.changed + 1
    if op.kind == "policy":
        policy = policy_after(o.policy, op.args["method"], op.args["body"])
        return [o._replace(policy=policy, changed=changed)] if op.unknown or op.body is None or policy_fits(policy, op.body) else []
    if op.kind == "set_put":
        return [o._replace(sets=_without_set(o, name) | {(name, addresses_of(op.args["addresses"]))}, changed=changed)]
    return [o._replace(sets=_without_set(o, name), changed=changed)] if _set_named(o, name) is not None else []


# Events

def check_sequence(seen, stored):
    """What a reader saw over all its connections, and what the store has in the end."""
    faults = []
    for what, events in (("the reader", seen), ("the store", stored)):
        numbers = [int(event["id"]) for event in events]
        for before, after in zip(numbers, numbers[1:]):
            if after != before + 1:
                kind = "twice or out of order" if after <= before else "missing"
                faults.append(f"{what}: event {after} follows {before}: {kind}")
    if any(event["event"] == "events.lost" for event in seen + stored):
        faults.append("events.lost, though the store was never full")
    if not faults and seen != stored:
        number = next((n for n, (a, b) in enumerate(zip(seen, stored)) if a != b), min(len(seen), len(stored)))
        faults.append(f"the reader saw {len(seen)} events and the store has {len(stored)}; the first that differs: {seen[number:number + 1]} {stored[number:number + 1]}")
    return faults


def by_resource(events, prefix):
    found = collections.defaultdict(list)
    for event in events:
        resource = event["data"]["resource"]
        if resource.startswith(prefix):
            found[resource[len(prefix):]].append(event)
    return found


def check_lives(events, ended=False):
    """The events of a VM tell one life after the other: created, from state to state without a jump, deleted; `ended`: none is left."""
    faults = []
    for vm, own in by_resource(events, "/vms/").items():
        state = None
        for event in own:
            kind, data, at = event["event"], event["data"]["data"], f"{vm}: event {event['id']} {event['event']}"
            if kind == "vm.created":
                if state is not None:
                    faults.append(f"{at}, though it was not deleted")
                state = "creating"
            elif kind == "vm.state":
                if data["from"] != state:
                    faults.append(f"{at} from {data['from']} to {data['state']}, after {state}")
                state = data["state"]
            elif kind == "vm.deleted":
                if state is None:
                    faults.append(f"{at}, though it was not there")
                state = None
            elif state is None:
                faults.append(f"{at}, though there is no such VM")
        if ended and state is not None:
            faults.append(f"{vm}: its events end with {state}")
    return faults


def check_image_lives(events, states=None):
    """Each import has one end, and what is there now has the state that its events end with. `states`: {image: state}, if they are known."""
    faults = []
    before = {"image.created": (None,), "image.ready": ("importing",), "image.failed": ("importing",), "image.deleted": ("importing", "ready", "failed")}
    after = {"image.created": "importing", "image.ready": "ready", "image.failed": "failed", "image.deleted": None}
    for image, own in by_resource(events, "/images/").items():
        state = None
        for event in own:
            if state not in before[event["event"]]:
                faults.append(f"{image}: event {event['id']} {event['event']} after {state}")
            state = after[event["event"]]
        if states is not None and states.get(image) != state:
            faults.append(f"{image} is {states.get(image)}, and its events end with {state}")
        if states is None and state == "importing":
            faults.append(f"{image}: no event tells the end of its import")
    return faults


def count_events(events, kind, resource):
    return sum(1 for event in events if event["event"] == kind and event["data"]["resource"] == resource)


def ends_of(events, vm):
    """How often its VMM has ended or could not be started: so often may it be given up."""
    return sum(1 for event in events if event["event"] == "vm.state" and event["data"]["resource"] == f"/vms/{vm}" and event["data"]["data"]["state"] in ("failed", "stopped"))


def check_known(events, vms, images):
    """Nobody's VM was created: an answer or an unknown outcome stands for each."""
    faults = [f"events of the VM {vm}, which nobody has created" for vm in by_resource(events, "/vms/") if vm not in vms]
    return faults + [f"events of the image {image}, which nobody has created" for image in by_resource(events, "/images/") if image not in images]


# Who has what: sightings are VMs as some answer showed them

Sighting = collections.namedtuple("Sighting", "invoked returned uid vm")


def uid_of(etag):
    return int(re.fullmatch(r'"(\d+)-\d+\.[0-9a-f]{16}"', etag).group(1))


def check_uids(sightings):
    """A uid is one VM for ever, and its addresses, TAPs and MACs are given once."""
    faults, first = [], {}
    for seen in sightings:
        vm = seen.vm
        now = (vm["id"], vm["created_at"], frozen([[i["iface_id"], i["ip"], i["tap"], i["mac"]] for i in vm["network_interfaces"]]))
        before = first.setdefault(seen.uid, now)
        if now != before:
            faults.append(f"uid {seen.uid} was {before} and is {now}")
    return faults


def check_shared(sightings):
    """What two VMs have at the same time: a VM has its addresses from the first answer that showed it to the last, and its process at least in both."""
    faults, lives = [], {}
    for seen in sightings:
        begin, end, vm = lives.get(seen.uid, (INFINITE, -INFINITE, seen.vm))
        lives[seen.uid] = (min(begin, seen.returned), max(end, seen.invoked), vm)
    holders = collections.defaultdict(list)
    for uid, (begin, end, vm) in lives.items():
        for interface in vm["network_interfaces"]:
            for kind in ("ip", "tap", "mac"):
                holders[kind, interface[kind]].append((begin, end, uid, vm["id"]))
    for (kind, value), owners in holders.items():
        owners.sort()
        faults += [f"the {kind} {value} was that of {a[3]} (uid {a[2]}) and of {b[3]} (uid {b[2]}) at once" for a, b in zip(owners, owners[1:]) if b[0] < a[1]]
    return faults


def check_listed(lists):
    """In one list no two VMs share a thing."""
    faults = []
    for vms in lists:
        owners = {}
        for vm in vms:
            things = [(kind, interface[kind]) for interface in vm["network_interfaces"] for kind in ("ip", "tap", "mac")]
            things += [("port", (p["protocol"], p["host_port"])) for p in vm["ports"]] + ([("process", vm["vmm"]["pid"])] if vm["vmm"]["pid"] else [])
            for thing in things:
                other = owners.setdefault(thing, vm["id"])
                if other != vm["id"]:
                    faults.append(f"the {thing[0]} {thing[1]} is that of {other} and of {vm['id']}")
    return faults


def check_generations(sightings):
    """Neither generation of a VM goes back, and none is observed before it was wanted. Only answers that did not overlap have an order."""
    faults, lives = [], collections.defaultdict(list)
    for seen in sightings:
        lives[seen.uid].append(seen)
    for uid, own in lives.items():
        for field in ("generation", "observed_generation"):
            ends = sorted(own, key=lambda s: s.returned)
            highest, index = -1, 0
            for seen in sorted(own, key=lambda s: s.invoked):
                while index < len(ends) and ends[index].returned < seen.invoked:
                    highest = max(highest, ends[index].vm[field])
                    index += 1
                if seen.vm[field] < highest:
                    faults.append(f"{seen.vm['id']} (uid {uid}): {field} {seen.vm[field]} after {highest}")
        faults += [f"{s.vm['id']} (uid {uid}): generation {s.vm['observed_generation']} is observed, {s.vm['generation']} is wanted"
                   for s in own if s.vm["observed_generation"] > s.vm["generation"]]
    return faults


def check_rest(vms):
    """At rest every VM is as it is wanted, or its start or its VMM has failed, and it says why."""
    return [f"{vm['id']} is {vm['state']}, wanted {vm['desired_state']}, error {vm.get('error')}" for vm in vms
            if vm["state"] != vm["desired_state"] and not (vm["state"] == "failed" and vm.get("error"))]
