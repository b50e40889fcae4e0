"""
The stand-in Firecracker against the real one, so that it can't drift: both get the same command lines, configurations
and requests. Then the daemon against each misbehaviour of the stand-in, which the real one can't be made to do.
"""

import copy
import json
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import standin
from harness import TINY, Case, OwnDaemonCase, eventually, is_alive, limit
from standin import STANDIN, fault

REAL = shutil.which("firecracker", path="/usr/local/bin:/usr/bin:/opt/firecracker")
POSITION = re.compile(r" at line \d+ column \d+")


class Vmm:
    """One of the two, by itself, without a network. `config` None: it waits for its orders."""

    def __init__(self, binary, config=None, args=()):
        self.dir = Path(tempfile.mkdtemp(prefix="svt-vmm-"))
        (self.dir / "rootfs").write_bytes(bytes(65536))
        argv = ["unshare", "--net", str(binary), "--id", "twin", "--api-sock", str(self.dir / "api.sock"), "--level", "Error",
                "--module", "firecracker"]
        if config is not None:
            text = config if isinstance(config, str) else json.dumps(config)
            (self.dir / "vmm.json").write_text(text.replace("@DIR@", str(self.dir)))
            argv += ["--config-file", str(self.dir / "vmm.json")]
        self.output = open(self.dir / "out", "ab")
        self.process = subprocess.Popen([*argv, *args], stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, cwd=self.dir)

    def await_socket(self):
        eventually(lambda: (self.dir / "api.sock").exists() or self.process.poll() is not None, "the API socket")
        return self

    def raw(self, data):
        """The bytes of one whole answer."""
        with socket.socket(socket.AF_UNIX) as sock:
            sock.settimeout(5)
            eventually(lambda: self._connect(sock), "a connection")
            sock.sendall(data)
            answer = b""
            while True:
                head, separator, body = answer.partition(b"\r\n\r\n")
                length = re.search(rb"Content-Length: (\d+)", head)
                if separator and len(body) >= int(length[1] if length else 0):
                    return answer
                block = sock.recv(65536)
                if not block:
                    return answer
                answer += block

    def _connect(self, sock):
        try:
            sock.connect(str(self.dir / "api.sock"))
        except ConnectionRefusedError:
            return False
        return True

    def ask(self, method, target, body=None):
        """Status, headers but for the length, and the body: JSON without positions, or text."""
        data = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\n"
        if body is not None:
            text = body if isinstance(body, str) else json.dumps(body)
            data += f"Content-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n{text}"
        else:
            data += "\r\n"
        return self.parsed(self.raw(data.encode()))

    def parsed(self, answer):
        head, _, body = answer.decode().partition("\r\n\r\n")
        lines = head.split("\r\n")
        headers = sorted(line for line in lines[1:] if not line.startswith("Content-Length"))
        body = POSITION.sub("", body.replace(str(self.dir), "@DIR@"))
        try:
            return lines[0], headers, json.loads(body)
        except ValueError:
            return lines[0], headers, body

    def threads(self):
        tasks = Path(f"/proc/{self.process.pid}/task")
        names = [(task / "comm").read_text().strip() for task in tasks.iterdir()]
        return sorted(name for name in names if not name.startswith("kvm"))

    def said(self):
        """What it printed, without stamps, positions and the details in brackets of the last line."""
        text = POSITION.sub("", (self.dir / "out").read_text().replace(str(self.dir), "@DIR@"))
        lines = [re.sub(r"^\S+T\S+ ", "", line) for line in text.splitlines()]
        return [line for line in lines if not line.startswith("Error: ")]

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.output.close()
        shutil.rmtree(self.dir)


def configuration(mode="ctrlaltdel", **changes):
    """As the daemon writes it; a change of None leaves a part out."""
    config = {
        "boot-source": {"kernel_image_path": str(TINY), "boot_args": f"console=ttyS0 tiny={mode}"},
        "machine-config": {"vcpu_count": 1, "mem_size_mib": 32},
        "drives": [{"drive_id": "rootfs", "path_on_host": "@DIR@/rootfs", "is_root_device": True, "is_read_only": True}],
        "network-interfaces": [],
        "entropy": {},
    }
    for key, value in changes.items():
        key = key.replace("_", "-")
        config.pop(key) if value is None else config.update({key: value})
    return copy.deepcopy(config)


NIC = {"iface_id": "eth0", "host_dev_name": "twin0", "guest_mac": "02:00:00:00:00:01"}

REQUESTS = [
    ("GET", "/"), ("GET", "/version"), ("GET", "/vm/config"), ("GET", "/machine-config"),
    ("GET", "/vm"), ("GET", "/vm/nope"), ("GET", "/nope"), ("GET", "//"), ("GET", "/version/x"), ("GET", "/?a=b"), ("GET", "/actions"),
    ("GET", "/", "{}"), ("GET", "/version", "{}"), ("GET", "/nope", "{}"),
    ("PUT", "/vm", {"state": "Paused"}), ("PATCH", "/actions", {}), ("PUT", "/nope", {}), ("PUT", "/nope"), ("PATCH", "/nope"),
    ("DELETE", "/"), ("POST", "/"), ("HEAD", "/"), ("get", "/"),
    ("PATCH", "/vm"), ("PATCH", "/vm", ""), ("PATCH", "/vm", {}), ("PATCH", "/vm", "xx"), ("PATCH", "/vm", "[]"), ("PATCH", "/vm", "{"),
    ("PATCH", "/vm", {"state": "Foo"}), ("PATCH", "/vm", {"state": 7}), ("PATCH", "/vm", {"state": "Paused", "x": 1}),
    ("PATCH", "/machine-config"), ("PATCH", "/machine-config", {}), ("PATCH", "/machine-config", {"foo": 2}),
    ("PATCH", "/machine-config", {"vcpu_count": 300}), ("PATCH", "/machine-config", {"vcpu_count": -1}),
    ("PATCH", "/machine-config", {"vcpu_count": "2"}), ("PATCH", "/machine-config", {"smt": 1}), ("PATCH", "/machine-config", {"mem_size_mib": 1.5}),
    ("PUT", "/machine-config", {}), ("PUT", "/machine-config", {"vcpu_count": 2}), ("PUT", "/machine-config"),
    ("PUT", "/actions"), ("PUT", "/actions", {}), ("PUT", "/actions", "{"), ("PUT", "/actions", {"action_type": "Nope"}),
    ("PUT", "/actions", {"action_type": "FlushMetrics", "x": 1}),
    ("PUT", "/boot-source", {}), ("PUT", "/boot-source", {"kernel_image_path": "/nope", "x": 1}),
]
RAW = [
    b"GET / HTTP/1.0\r\n\r\n", b"GET / HTTP/2\r\n\r\n", b"hello\r\n\r\n", b"\r\n\r\n", b"GET  / HTTP/1.1\r\n\r\n",
    b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", b"GET / HTTP/1.1\r\nContent-Length: 99999999\r\n\r\n",
    b"GET / HTTP/1.1\r\nFoo\r\n\r\n", b"GET http://localhost/version HTTP/1.1\r\n\r\n",
    b"PUT /actions HTTP/1.1\r\nContent-Type: text/plain\r\nContent-Length: 2\r\n\r\n{}",
    b"PUT /actions HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n",
]
WRONG_CONFIGURATIONS = {
    "cut off": "{",
    "no kernel file": configuration(boot_source={"kernel_image_path": "/nope"}),
    "no boot source": configuration(boot_source=None),
    "no drives": configuration(drives=None),
    "no vCPU": configuration(machine_config={"vcpu_count": 0, "mem_size_mib": 32}),
    "33 vCPUs": configuration(machine_config={"vcpu_count": 33, "mem_size_mib": 32}),
    "no memory": configuration(machine_config={"vcpu_count": 1, "mem_size_mib": 0}),
    "no drive's file": configuration(drives=[{"drive_id": "rootfs", "path_on_host": "/nope", "is_root_device": True}]),
    "two roots": configuration(drives=[{"drive_id": name, "path_on_host": "@DIR@/rootfs", "is_root_device": True} for name in "ab"]),
    "an unknown field of a drive": configuration(drives=[{"drive_id": "a", "is_root_device": True, "colour": "red"}]),
    "a bad MAC": configuration(network_interfaces=[{**NIC, "guest_mac": "zz"}]),
    "no TAP named": configuration(network_interfaces=[{"iface_id": "eth0"}]),
    "a long TAP name": configuration(network_interfaces=[{**NIC, "host_dev_name": "a" * 16}]),
    "a TAP that is none": configuration(network_interfaces=[{**NIC, "host_dev_name": "lo"}]),
    "a MAC twice": configuration(network_interfaces=[NIC, {**NIC, "iface_id": "eth1", "host_dev_name": "twin1"}]),
    "no ELF": configuration(boot_source={"kernel_image_path": "/etc/passwd"}),
    "a long command line": configuration(boot_source={"kernel_image_path": str(TINY), "boot_args": "a" * 3000}),
}


class TwinTest(Case):
    """Whatever is asked of both is answered by both in the same way."""

    def setUp(self):
        if REAL is None:
            self.skipTest("there is no Firecracker to compare with")

    def both(self, config=None, args=()):
        vmms = [Vmm(REAL, config, args), Vmm(STANDIN, config, args)]
        for vmm in vmms:
            self.addCleanup(vmm.close)
        return vmms

    def same(self, vmms, *request):
        answers = [vmm.ask(*request) for vmm in vmms]
        self.assertEqual(answers[0], answers[1], f"{request}: the real one's answer is the first")
        return answers[0]

    def running(self, **changes):
        vmms = self.both(configuration(**changes))
        for vmm in vmms:
            vmm.await_socket()
            eventually(lambda: vmm.ask("GET", "/")[2]["state"] == "Running", "a running guest")
        return vmms

    def test_requests_to_a_running_one(self):
        vmms = self.running()
        for request in REQUESTS:
            with self.subTest(request):
                self.same(vmms, *request)
        for action in ("FlushMetrics", "InstanceStart"):
            self.same(vmms, "PUT", "/actions", {"action_type": action})
        for body in ({"vcpu_count": 2}, {"vcpu_count": 0}):
            self.same(vmms, "PATCH", "/machine-config", body)

    def test_requests_to_a_paused_one(self):
        vmms = self.running()
        for state in ("Paused", "Paused", "Resumed", "Resumed", "Paused"):
            self.assertIn("204", self.same(vmms, "PATCH", "/vm", {"state": state})[0])
            self.same(vmms, "GET", "/")
        for request in REQUESTS:
            with self.subTest(request):
                self.same(vmms, *request)
        answers = [self.same(vmms, "PUT", "/actions", {"action_type": "SendCtrlAltDel"})[0] for _ in range(8)]
        self.assertEqual(4, len([a for a in answers if "204" in a]), answers)

    def test_requests_before_the_start(self):
        vmms = [vmm.await_socket() for vmm in self.both()]
        for request in REQUESTS:
            with self.subTest(request):
                self.same(vmms, *request)
        for action in ("SendCtrlAltDel", "FlushMetrics", "InstanceStart"):
            self.same(vmms, "PUT", "/actions", {"action_type": action})
        self.same(vmms, "PATCH", "/vm", {"state": "Paused"})
        for body in ({"vcpu_count": 0}, {"vcpu_count": 33}, {"mem_size_mib": 0}, {"vcpu_count": 2, "smt": True}, {"vcpu_count": 3}):
            self.same(vmms, "PATCH", "/machine-config", body)
            self.same(vmms, "GET", "/machine-config")
        self.same(vmms, "PUT", "/machine-config", {"vcpu_count": 2, "mem_size_mib": 64})
        self.same(vmms, "PUT", "/boot-source", {"kernel_image_path": "/nope"})
        self.same(vmms, "PUT", "/boot-source", configuration()["boot-source"])
        self.same(vmms, "GET", "/vm/config")
        self.same(vmms, "PUT", "/actions", {"action_type": "InstanceStart"})
        self.same(vmms, "GET", "/")
        for vmm in vmms:
            eventually(lambda: vmm.threads() == ["fc_api", "fc_vcpu 0", "fc_vcpu 1", "firecracker"], "the names of the threads")

    def test_what_is_no_request(self):
        vmms = self.running()
        for data in RAW:
            with self.subTest(data):
                answers = [vmm.parsed(vmm.raw(data)) for vmm in vmms]
                self.assertEqual(answers[0], answers[1])

    def test_several_requests_on_one_connection(self):
        vmms = self.running()
        for vmm in vmms:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.settimeout(5)
                sock.connect(str(vmm.dir / "api.sock"))
                sock.sendall(b"GET /version HTTP/1.1\r\n\r\nGET /version HTTP/1.1\r\n\r\n")
                text = b""
                while text.count(b'"1.12.1"') < 2:
                    text += sock.recv(4096)

    def test_the_guest_ends(self):
        for mode in ("ctrlaltdel", "reset"):
            vmms = self.both(configuration(mode))
            if mode == "ctrlaltdel":
                for vmm in vmms:
                    vmm.await_socket()
                    eventually(lambda: "tiny: waiting for ctrl-alt-del" in vmm.said(), "the guest")
                self.same(vmms, "PUT", "/actions", {"action_type": "SendCtrlAltDel"})
            self.assertEqual([0, 0], [vmm.process.wait(10) for vmm in vmms])
            self.assertEqual(vmms[0].said(), vmms[1].said())

    def test_wrong_configurations(self):
        for name, config in WRONG_CONFIGURATIONS.items():
            with self.subTest(name):
                vmms = self.both(config)
                statuses = [vmm.process.wait(10) for vmm in vmms]
                self.assertEqual((statuses[0], vmms[0].said()), (statuses[1], vmms[1].said()))
                self.assertEqual(1, statuses[0])

    def test_wrong_arguments(self):
        for args in (["--nope"], ["--log-path"]):
            vmms = self.both(configuration(), args)
            statuses = [vmm.process.wait(10) for vmm in vmms]
            self.assertEqual((statuses[0], vmms[0].said()), (statuses[1], vmms[1].said()))

    def test_the_version(self):
        first = [subprocess.run([binary, "--version"], capture_output=True, text=True).stdout.splitlines()[0] for binary in (REAL, STANDIN)]
        self.assertEqual(first[0], first[1])


class MisbehaviourTest(OwnDaemonCase):
    """Clear words, no leak, others unaffected, every deadline kept."""

    settings = {"vmm": {**standin.SETTINGS["vmm"], "start_timeout_s": 2, "api_timeout_s": 1}}
    slack_s = 3

    def setUp(self):
        super().setUp()
        self.bystander = self.create(vm="bystander")

    def tearDown(self):
        """After every one of them."""
        now = self.vm("bystander")
        self.assertEqual(("running", self.bystander["vmm"]["pid"]), (now["state"], now["vmm"]["pid"]))
        self.act("bystander", "pause")
        self.assertEqual("running", self.act("bystander", "resume")["state"])
        for vm in self.c.items("/vms"):
            self.c.delete(f"/vms/{vm['id']}", wait=20)
        self.daemon.await_no_leaks()

    def run_dir(self, vm):
        return self.daemon.run_dir / "vm" / vm

    def order(self, vm, text):
        self.assertEqual("ok", standin.order(self.run_dir(vm), text))

    def failing(self, fault_text, code, words=None, within_s=2):
        """A start that fails: state, error, what is left of it, and a second start without the fault."""
        body = self.body(boot_args=f"standin.fault={fault_text}")
        with self.quick(within_s + self.slack_s):
            reply = self.c.post("/vms", body, wait=20)
        self.assertGreaterEqual(reply.status, 409, f"{reply!r}\n{self.daemon.log_tail()}")
        self.assertEqual("failed", reply.json["resource"]["state"])
        error = reply.json["resource"]["error"]
        self.assertEqual((error["code"], error["message"]), (reply.code, reply.json["detail"]))
        self.assertIn(error["code"], code if isinstance(code, tuple) else (code,), error)
        self.assertLess(len(error["message"]), 2000)
        if words:
            self.assertIn(words, error["message"])
        eventually(lambda: self.daemon.vmm_pids() == [self.bystander["vmm"]["pid"]], "the end of the failed VMM")
        taps = [n for n, link in self.daemon.netns.links().items() if link["kind"] == "tun"]
        self.assertEqual([self.bystander["network_interfaces"][0]["tap"]], taps)
        return reply.json["resource"]

    # The start

    def test_it_never_opens_its_socket(self):
        self.failing(fault("hang", op="start"), "TIMEOUT", "2 s")

    def test_it_opens_its_socket_and_accepts_nobody(self):
        self.failing(fault("deaf", op="start"), "TIMEOUT")

    def test_it_opens_its_socket_late(self):
        vm = self.create(boot_args=f"standin.fault={fault('slow', op='start', ms=1200)}")
        self.assertEqual("true", self.condition(vm, "network")["status"])

    def test_it_ends_before_it_has_a_socket(self):
        vm = self.failing(fault("die", op="start", status=7, words="out of unobtainium"), "VMM_START_FAILED", "out of unobtainium")
        self.assertIn("7", vm["error"]["message"])

    def test_the_first_answer_never_comes(self):
        self.failing(fault("hang"), "TIMEOUT", "no answer")

    def test_the_first_answer_is_late_but_in_time(self):
        self.create(boot_args=f"standin.fault={fault('slow', ms=1200, times=1)}")

    def test_the_first_answer_is_cut_off(self):
        self.failing(fault("cut"), ("VMM_FAILED", "VMM_START_FAILED"))

    def test_the_first_answer_stops_half_way(self):
        self.failing(fault("half"), "TIMEOUT")

    def test_the_connection_is_closed_without_an_answer(self):
        self.failing(fault("close"), ("VMM_FAILED", "VMM_START_FAILED"))

    def test_the_first_answer_is_an_error(self):
        self.failing(fault("error", status=500, words="no more sockets"), ("VMM_FAILED", "VMM_START_FAILED"), "no_more_sockets")

    def test_the_first_answer_is_garbage(self):
        self.failing(fault("garbage"), ("VMM_FAILED", "VMM_START_FAILED"))

    def test_the_first_answer_has_no_end(self):
        self.failing(fault("endless"), ("VMM_FAILED", "VMM_START_FAILED", "TIMEOUT"))

    def test_the_first_answer_is_not_what_was_asked(self):
        self.failing(fault("wrong"), ("VMM_FAILED", "VMM_START_FAILED"), "Exploded")

    def test_it_dies_when_it_is_asked(self):
        self.failing(fault("die", status=9, words="asked to death"), ("VMM_FAILED", "VMM_START_FAILED"), "asked to death")

    def test_a_failed_one_can_be_started_without_its_fault(self):
        vm = self.failing(fault("garbage"), ("VMM_FAILED", "VMM_START_FAILED"))
        self.assertEqual("failed", self.vm(vm["id"])["state"])

    # Orders to a running one

    def misbehave(self, vm, kind, op, **settings):
        self.order(vm, "fault=" + fault(kind, op=op, **settings))

    @limit(120)
    def test_pause_goes_wrong(self):
        """The wish stays; what the VMM answers is seen; when it is well again, the wish comes true."""
        for kind in ("error", "hang", "half", "cut", "close", "garbage", "endless", "wrong"):
            with self.subTest(kind):
                vm = self.create()["id"]
                self.misbehave(vm, kind, "pause")
                with self.quick(4 + self.slack_s):
                    reply = self.c.post(f"/vms/{vm}/pause", wait=3)
                self.assertIn(reply.status, (200, 202), repr(reply))
                self.assertTrue(is_alive(self.vm(vm)["vmm"]["pid"]))
                if kind not in ("hang", "half"):  # those two never recover: one thread serves all calls
                    self.order(vm, "clear")
                    self.await_vm(vm, lambda now: now["state"] == "paused", "the pause", 30)
                self.forget(vm)

    def test_it_dies_when_it_is_paused(self):
        vm = self.create()["id"]
        self.misbehave(vm, "die", "pause", status=5, words="paused for ever")
        self.c.post(f"/vms/{vm}/pause", wait=5)
        gone = self.await_vm(vm, lambda now: now["state"] in ("stopped", "failed"), "its end")
        self.assertIn("paused for ever", json.dumps(gone))

    def test_it_dies_after_it_was_paused(self):
        vm = self.create()["id"]
        self.misbehave(vm, "die_after", "pause", status=5)
        self.c.post(f"/vms/{vm}/pause", wait=5)
        self.await_vm(vm, lambda now: now["state"] in ("stopped", "failed"), "its end")

    @limit(120)
    def test_stop_goes_wrong(self):
        """Whatever Ctrl-Alt-Del leads to, after the time that was given the VM is stopped by force."""
        for kind in ("error", "hang", "half", "cut", "close", "garbage", "endless", "wrong"):
            with self.subTest(kind):
                vm = self.create()
                self.misbehave(vm["id"], kind, "ctrl_alt_del")
                with self.quick(1 + 2 + self.slack_s):
                    stopped = self.act(vm["id"], "stop", {"timeout_seconds": 1}, wait=15)
                self.assertEqual("stopped", stopped["state"])
                # Those three press the keys before they spoil the answer.
                expected = ("graceful",) if kind in ("cut", "garbage", "wrong", "close") else ("forced", "graceful")
                self.assertIn(stopped["last_exit"]["tier"], expected, kind)
                self.assertFalse(is_alive(vm["vmm"]["pid"]))
                self.forget(vm["id"])

    def test_all_calls_hang(self):
        vm = self.create()
        self.misbehave(vm["id"], "hang", "any")
        with self.quick(8):
            stopped = self.act(vm["id"], "stop", {"timeout_seconds": 1}, wait=15)
        self.assertEqual(("stopped", "forced"), (stopped["state"], stopped["last_exit"]["tier"]))

    def test_a_guest_whose_vmm_is_silent_runs_on(self):
        """Its API may be stuck while the guest works: silence alone is no reason to kill it."""
        vm = self.create()
        self.misbehave(vm["id"], "hang", "any")
        self.c.post(f"/vms/{vm['id']}/pause")
        self.await_vm(vm["id"], lambda now: self.condition(now, "process")["reason"] == "no_answer", "the silence")
        time.sleep(3)
        now = self.vm(vm["id"])
        self.assertEqual(("running", vm["vmm"]["pid"]), (now["state"], now["vmm"]["pid"]))
        self.assertTrue(is_alive(vm["vmm"]["pid"]))

    def test_a_hanging_one_is_deleted_at_once(self):
        vm = self.create()
        self.misbehave(vm["id"], "hang", "any")
        with self.quick(6):
            self.assertEqual(204, self.c.delete(f"/vms/{vm['id']}", wait=10).status)

    def test_others_do_not_wait_for_a_hanging_one(self):
        """Four threads do the daemon's work (`vmm.workers`): three that hang leave one."""
        vms = [self.create()["id"] for _ in range(3)]
        for vm in vms:
            self.misbehave(vm, "hang", "any")
            self.c.post(f"/vms/{vm}/pause")
        with self.quick(2):
            self.act("bystander", "pause")
            self.act("bystander", "resume")

    @limit(90)
    def test_death_at_each_call(self):
        """The first, second, third … call of a life: pause, resume, stop, with the daemon's own questions between them."""
        for number in range(1, 7):
            body = self.body(boot_args=f"standin.fault={fault('die', nth=number, status=3)}")
            reply = self.c.post("/vms", body, wait=10)
            self.assertIn(reply.status, (201, 500), repr(reply))
            for action in ("pause", "resume", "stop"):
                self.c.post(f"/vms/{body['id']}/{action}", wait=5)
            gone = self.await_vm(body["id"], lambda now: now["state"] in ("stopped", "failed"), f"its end at call {number}")
            self.assertEqual(gone["generation"], gone["observed_generation"])
            self.forget(body["id"])

    def test_the_daemon_is_restarted_with_a_hanging_one(self):
        vm = self.create()
        self.misbehave(vm["id"], "hang", "any")
        self.daemon.kill9()
        with self.quick(15):
            self.daemon.start()
        now = self.await_vm(vm["id"], lambda now: now["vmm"]["pid"] == vm["vmm"]["pid"], "the adoption")
        time.sleep(3)  # longer than the time that a start has
        now = self.vm(vm["id"])
        self.assertEqual(("running", vm["vmm"]["pid"]), (now["state"], now["vmm"]["pid"]))
        self.assertEqual("no_answer", self.condition(now, "process")["reason"])
        self.act(vm["id"], "kill")

    # The stand-in's own words

    def test_what_is_no_fault_is_refused(self):
        vm = self.create()["id"]
        for text in ("fault=", "fault=nonsense", "fault=slow,ms=x", "fault=slow,colour=red", "fault=slow,ms=-1", "nonsense",
                     "fault=error,words=" + "x" * 200):
            self.assertNotEqual("ok", standin.order(self.run_dir(vm), text), text)
        for _ in range(16):
            self.order(vm, "fault=" + fault("slow", op="other"))
        self.assertEqual("too many faults", standin.order(self.run_dir(vm), "fault=slow"))
        self.order(vm, "clear")

    def test_last_words_that_come_in_many_pieces(self):
        vm = self.create()["id"]
        for piece in ("Kernel ", "panic", " - n", "ot syn", "cing: no", " init\n"):
            self.order(vm, "print=" + piece)
            self.await_console(vm, piece.encode())
        dead = self.await_vm(vm, lambda now: any(c["type"] == "guest" and c["status"] == "false" for c in now["conditions"]), "the condition")
        self.assertEqual("panicked", self.condition(dead, "guest")["reason"])

    def test_it_prints_and_ends_as_it_is_told(self):
        vm = self.create()["id"]
        self.order(vm, "print=a word of the guest\n")
        self.await_console(vm, b"a word of the guest")
        with standin.connect(f"{self.run_dir(vm)}/standin.ctl") as sock:
            sock.send(b"end=4")
        gone = self.await_vm(vm, lambda now: now["state"] in ("stopped", "failed"), "its end")
        self.assertIn("4", json.dumps(gone["last_exit"]))

    def test_frames_reach_the_host_and_come_back(self):
        """ARP for the gateway: the host answers."""
        interface = self.bystander["network_interfaces"][0]
        mac = bytes.fromhex(interface["mac"].replace(":", ""))
        own, gateway = socket.inet_aton(interface["ip"]), socket.inet_aton(interface["gateway"])
        wire = standin.Wire(self.run_dir("bystander"))
        self.addCleanup(wire.close)
        wire.send(b"\xff" * 6 + mac + b"\x08\x06" + bytes.fromhex("0001080006040001") + mac + own + bytes(6) + gateway)
        answer = wire.receive()
        while answer and answer[12:14] != b"\x08\x06":
            answer = wire.receive()
        self.assertEqual((b"\x00\x02", gateway, own), (answer[20:22], answer[28:32], answer[38:42]))
        self.assertTrue(standin.order(self.run_dir("bystander"), "counts").startswith("sent=1 refused=0"))
