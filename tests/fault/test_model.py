#!/usr/bin/python3
"""The model of random_run.py can fail: histories by hand, each with the one fault that it must find, beside those that are right."""

import itertools
import sys
import unittest

import model
from decisions import Decisions
from model import Op, Sighting


def shown(generation=1, state="running", desired="running", labels=None, ports=(), memory=32):
    return {"generation": generation, "state": state, "desired_state": desired, "labels": labels or {}, "ports": list(ports), "machine_config": {"mem_size_mib": memory}}


def create(at=0, uid=1, **kw):
    kw = {"status": 201, **kw}
    return Op("create", "a", at, at + 1, {"machine_config": {"mem_size_mib": 32}}, uid=uid if kw["status"] else None, **kw)


def patch(at, labels, took=1, status=200, **kw):
    return Op("patch", "a", at, at + took, {"labels": labels}, status=status, **kw)


def act(at, action, status=200, **kw):
    return Op("act", "a", at, at + 1, {"action": action}, status=status, **kw)


def get(at, uid=1, **kw):
    return Op("get", "a", at, at + 1, status=200, uid=uid, body=shown(**kw))


def gone(at):
    return Op("get", "a", at, at + 1, status=404, code="NOT_FOUND")


def delete(at, status=202, **kw):
    return Op("delete", "a", at, at + 1, status=status, **kw)


def count(created=1, deleted=0, changed=0):
    return Op("count", "a", 1000, 1001, status=200, body={"created": created, "deleted": deleted, "changed": changed})


class VmModel(unittest.TestCase):
    def holds(self, *ops, ends=0):
        self.assertIsNone(model.check(list(ops), model.vm_object(ends), model.vm_step, model.vm_drift))

    def fails(self, *ops, ends=0):
        self.assertIsNotNone(model.check(list(ops), model.vm_object(ends), model.vm_step, model.vm_drift))

    def test_what_was_written_is_there(self):
        self.holds(create(), patch(2, {"x": "1"}), get(4, generation=2, labels={"x": "1"}), count())

    def test_a_lost_write(self):
        self.fails(create(), patch(2, {"x": "1"}), get(4, generation=1))
        self.fails(create(), patch(2, {"x": "1"}), get(4, generation=2))
        self.fails(create(), act(2, "stop"), get(4, generation=1))

    def test_a_lost_vm(self):
        self.fails(create(), gone(2))

    def test_a_deleted_vm_comes_back(self):
        self.holds(create(), delete(2), gone(4), count(deleted=1))
        self.fails(create(), delete(2), gone(4), get(6, generation=2, state="deleting"))
        self.fails(create(), delete(2), get(4))

    def test_a_write_that_nobody_asked_for(self):
        self.fails(create(), get(2, generation=2, labels={"x": "1"}))

    def test_a_refused_write_has_no_effect(self):
        refused = patch(2, {"x": "1"}, status=409, code="INVALID_STATE")
        self.holds(create(), refused, get(4))
        self.fails(create(), refused, get(4, generation=2, labels={"x": "1"}))

    def test_an_unknown_outcome_happened_or_did_not(self):
        unknown = patch(2, {"x": "1"}, status=None)
        self.holds(create(), unknown, get(4))
        self.holds(create(), unknown, get(4, generation=2, labels={"x": "1"}))
        self.fails(create(), unknown, get(4, generation=3, labels={"x": "1"}))

    def test_an_unknown_outcome_does_not_happen_later(self):
        self.fails(create(), patch(2, {"x": "1"}, status=None), get(4), get(6, generation=2, labels={"x": "1"}))

    def test_an_unknown_reboot_happens_once(self):
        self.holds(create(), act(2, "reboot", status=None), get(4, generation=2))
        self.fails(create(), act(2, "reboot", status=None), get(4, generation=3))

    def test_overlapping_writes_have_some_order(self):
        both = patch(2, {"x": "1"}, took=3), patch(3, {"x": "2"}, took=3)
        for value in "12":
            self.holds(create(), *both, get(7, generation=3, labels={"x": value}))
        self.fails(create(), *both, get(7, generation=2, labels={"x": "1"}))
        self.fails(create(), *both, get(7, generation=3, labels={"x": "1"}), get(9, generation=3, labels={"x": "2"}))

    def test_writes_one_after_the_other_keep_theirs(self):
        self.fails(create(), patch(2, {"x": "1"}), patch(4, {"x": "2"}), get(6, generation=3, labels={"x": "1"}))

    def test_a_key_has_one_effect(self):
        again = create(2, key="k", replayed=True)
        self.holds(create(key="k"), again, count(), get(4))
        self.holds(create(key="k", status=None), again, get(4), count())
        self.holds(create(key="k", status=None), create(2, key="k"), get(4), count())
        self.holds(create(key="k"), delete(2), gone(4), create(6, key="k", replayed=True), gone(8), count(deleted=1))
        self.fails(create(key="k"), delete(2), gone(4), create(6, key="k", replayed=False, uid=2))
        self.fails(act(0, "reboot", key="k", replayed=True))
        self.fails(create(), act(2, "reboot", key="k", status=None), act(4, "reboot", key="k", replayed=True), get(6, generation=3))

    def test_events_are_counted(self):
        self.fails(create(), count(created=2))
        self.fails(create(), count(created=0))
        self.fails(create(), delete(2), gone(4), count(deleted=0))
        self.holds(create(status=None), count(created=0))
        self.holds(create(status=None), count(created=1))

    def test_another_vm_of_the_same_id(self):
        self.holds(create(), delete(2), create(4, uid=2), get(6, uid=2), count(created=2, deleted=1))
        self.fails(create(), delete(2), create(4, uid=2), get(6, uid=1))

    def test_if_match(self):
        self.holds(create(), patch(2, {"x": "1"}, since=(1, 1)), get(4, generation=2, labels={"x": "1"}))
        self.fails(create(), patch(2, {"x": "1"}), patch(4, {"x": "2"}, since=(1, 1)))

    def test_a_vm_that_ended_is_given_up_once(self):
        self.holds(create(), get(2, generation=2, desired="stopped", state="failed"), ends=1)
        self.fails(create(), get(2, generation=2, desired="stopped", state="failed"))
        self.fails(create(), get(2, generation=2, desired="stopped"), act(4, "start"), get(6, generation=4, desired="stopped"), ends=1)

    def test_policies(self):
        def put(at, **kw):
            return Op("firewall", "a", at, at + 1, {"method": "PUT", "body": {"egress": model.DENY}}, status=200, **kw)

        def read(at, own, egress):
            return Op("get_firewall", "a", at, at + 1, status=200, body={"own": own, "egress": egress, "ingress": model.DENY})

        self.holds(create(), put(2), read(4, True, model.DENY), count(changed=1))
        self.fails(create(), put(2), read(4, False, model.ALLOW))
        self.fails(create(), put(2), read(4, True, model.ALLOW))
        self.fails(create(), put(2), count(changed=2))
        self.fails(create(), put(2), delete(4), create(6, uid=2), read(8, True, model.DENY))


class OtherModels(unittest.TestCase):
    def test_images(self):
        made = Op("image_create", "i", 0, 1, status=201)
        removed = Op("delete", "i", 2, 3, status=202)
        there = Op("get", "i", 4, 5, status=200, body={"state": "ready"})
        absent = Op("get", "i", 6, 7, status=404)
        for ops, good in (((made, there), True), ((made, absent), False), ((made, removed, absent), True), ((made, removed, there), False),
                          ((made, removed, absent, Op("count", "i", 8, 9, status=200, body={"created": 1, "deleted": 2})), False)):
            self.assertEqual(good, model.check(list(ops), model.IMAGE_OBJECT, model.image_step, model.image_drift) is None, ops)

    def test_the_firewall(self):
        def read(at, egress):
            return Op("get_policy", "firewall", at, at + 1, status=200, body={"egress": egress, "ingress": model.DENY})

        def put(at, **kw):
            return Op("policy", "firewall", at, at + 1, {"method": "PUT", "body": {"egress": model.DENY}}, **kw)

        def members(at, *addresses):
            return Op("get_set", "firewall", at, at + 1, {"name": "s"}, status=200, body={"addresses": list(addresses)})

        made = Op("set_put", "firewall", 0, 1, {"name": "s", "addresses": ["10.0.0.0/8"]}, status=200)
        removed = Op("set_delete", "firewall", 2, 3, {"name": "s"}, status=204)
        counted = Op("count", "firewall", 8, 9, status=200, body={"changed": 1})
        for ops, good in (((put(0, status=200), read(2, model.DENY)), True), ((put(0, status=200), read(2, model.ALLOW)), False), ((put(0), read(2, model.ALLOW)), True),
                          ((put(0), read(2, model.ALLOW), read(4, model.DENY)), False), ((made, members(4, "10.0.0.0/8"), counted), True),
                          ((made, members(4)), False), ((made, removed, members(4, "10.0.0.0/8")), False), ((made, removed, counted), False)):
            self.assertEqual(good, model.check(list(ops), model.FIREWALL_OBJECT, model.firewall_step) is None, ops)


def event(number, kind, resource="/vms/a", **data):
    return {"id": str(number), "event": kind, "data": {"resource": resource, "data": data}}


LIFE = [event(1, "vm.created"), event(2, "vm.state", **{"from": "creating"}, state="running"), event(3, "vm.deleted")]


class Events(unittest.TestCase):
    def test_a_life(self):
        self.assertEqual([], model.check_sequence(LIFE, LIFE))
        self.assertEqual([], model.check_lives(LIFE))
        self.assertEqual(0, model.ends_of(LIFE, "a"))
        self.assertEqual([], model.check_known(LIFE, {"a"}, ()))

    def test_what_the_reader_saw_is_what_is_stored(self):
        for seen in (LIFE[:2], LIFE[:1] + LIFE, [LIFE[0], LIFE[2]], [LIFE[1], LIFE[0], LIFE[2]], [], LIFE[:2] + [event(3, "vm.state")]):
            self.assertNotEqual([], model.check_sequence(seen, LIFE), seen)
        self.assertNotEqual([], model.check_sequence([LIFE[0], LIFE[2]], [LIFE[0], LIFE[2]]), "a gap in the store")
        lost = [event(1, "events.lost", "/events")]
        self.assertNotEqual([], model.check_sequence(lost, lost))

    def test_lives_that_are_wrong(self):
        for events in (LIFE[1:], LIFE[:1] + LIFE, [*LIFE, event(4, "vm.state", **{"from": "running"}, state="stopped")], [*LIFE, event(4, "vm.deleted")],
                       [*LIFE[:2], event(3, "vm.state", **{"from": "stopped"}, state="starting")], [*LIFE[:2], LIFE[1]], [*LIFE, event(4, "firewall.changed")]):
            self.assertNotEqual([], model.check_lives(events), events)

    def test_a_life_that_has_not_ended(self):
        self.assertEqual([], model.check_lives(LIFE, ended=True))
        self.assertNotEqual([], model.check_lives(LIFE[:2], ended=True))

    def test_images(self):
        def life(*kinds):
            return [event(number, f"image.{kind}", "/images/i") for number, kind in enumerate(kinds)]

        for kinds, state in ((("created", "ready"), "ready"), (("created", "failed", "deleted", "created", "ready"), "ready"), (("created", "deleted"), None)):
            self.assertEqual([], model.check_image_lives(life(*kinds), {"i": state}), kinds)
        for kinds, state in ((("created",), "ready"), (("created", "ready", "ready"), "ready"), (("created", "ready"), None), (("ready",), "ready"),
                             (("created", "ready", "deleted", "ready"), "ready")):
            self.assertNotEqual([], model.check_image_lives(life(*kinds), {"i": state}), kinds)
        self.assertNotEqual([], model.check_image_lives(life("created")))

    def test_a_vm_that_nobody_has_created(self):
        self.assertNotEqual([], model.check_known(LIFE, {"b"}, ()))
        self.assertNotEqual([], model.check_known([event(1, "image.created", "/images/i")], (), ()))


class Seeds(unittest.TestCase):
    def test_a_seed_is_a_sequence(self):
        def begin(seed, client):
            return list(itertools.islice(Decisions(seed, client), 500))

        self.assertEqual(begin(7, 1), begin(7, 1))
        self.assertNotEqual(begin(7, 1), begin(8, 1))
        self.assertEqual(set("create act patch delete firewall get get_firewall image_create image_delete image_get policy set_put set_delete set_get anonymous".split()),
                         {what for what, _ in begin(7, 1)})


def vm(name="a", ip="10.0.0.2", pid=7, generation=1, observed=1, created="t", host_port=80):
    return {"id": name, "created_at": created, "generation": generation, "observed_generation": observed, "vmm": {"pid": pid},
            "network_interfaces": [{"iface_id": "eth0", "ip": ip, "tap": "t" + ip, "mac": "m" + ip}], "ports": [{"protocol": "tcp", "host_port": host_port}]}


class Identities(unittest.TestCase):
    def test_uids(self):
        self.assertEqual([], model.check_uids([Sighting(0, 1, 1, vm()), Sighting(2, 3, 1, vm()), Sighting(0, 1, 2, vm("b", "10.0.0.3"))]))
        self.assertNotEqual([], model.check_uids([Sighting(0, 1, 1, vm()), Sighting(2, 3, 1, vm(created="u"))]))
        self.assertNotEqual([], model.check_uids([Sighting(0, 1, 1, vm()), Sighting(2, 3, 1, vm(ip="10.0.0.3"))]))

    def test_an_address_of_two(self):
        first = [Sighting(0, 1, 1, vm()), Sighting(8, 9, 1, vm())]
        self.assertEqual([], model.check_shared([*first, Sighting(10, 11, 2, vm("b"))]))
        self.assertNotEqual([], model.check_shared([*first, Sighting(5, 6, 2, vm("b"))]))

    def test_lists(self):
        other = vm("b", "10.0.0.3", 8, host_port=81)
        self.assertEqual([], model.check_listed([[vm(), other]]))
        for change in ({"ip": "10.0.0.2"}, {"pid": 7}, {"host_port": 80}):
            self.assertNotEqual([], model.check_listed([[vm(), vm(**{"name": "b", "ip": "10.0.0.3", "pid": 8, "host_port": 81, **change})]]), change)

    def test_generations(self):
        def seen(at, generation, observed):
            return Sighting(at, at + 1.5, 1, vm(generation=generation, observed=observed))

        self.assertEqual([], model.check_generations([seen(0, 1, 1), seen(2, 2, 1)]))
        self.assertEqual([], model.check_generations([seen(0, 2, 1), seen(1, 1, 1)]), "they overlap")
        self.assertNotEqual([], model.check_generations([seen(0, 2, 1), seen(2, 1, 1)]))
        self.assertNotEqual([], model.check_generations([seen(0, 2, 2), seen(2, 2, 1)]))
        self.assertNotEqual([], model.check_generations([seen(0, 1, 2)]))

    def test_rest(self):
        def at(state, desired, **extra):
            return [{"id": "a", "state": state, "desired_state": desired, **extra}]

        for good in (at("running", "running"), at("failed", "stopped", error={"code": "VMM_FAILED"}), at("failed", "running", error={"code": "VMM_START_FAILED"})):
            self.assertEqual([], model.check_rest(good))
        for bad in (at("running", "stopped"), at("stopped", "running"), at("failed", "running"), at("starting", "running")):
            self.assertNotEqual([], model.check_rest(bad))


if __name__ == "__main__":
    result = unittest.TextTestRunner(verbosity=1).run(unittest.defaultTestLoader.loadTestsFromModule(sys.modules[__name__]))
    bad = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - bad} passed, {bad} failed, 0 skipped")
    sys.exit(1 if bad else 0)
