"""The figures of tests/bench/run.sh. Real Firecrackers with the tiny guest; every figure beside a floor of the same run."""
import concurrent.futures
import ctypes
import http.client
import json
import os
import re
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time

RUN = "/run/svbench"
NETNS = "svbench"
SUBNET = "10.213.0.0/20"
PORT = 18080
BARE_PORT = 18081


def figure(name, value, unit, floor):
    ratio = value / floor if floor else float("nan")
    print(f"figure {name} {value:.3f} {unit} floor={floor:.3f} ratio={ratio:.2f}", flush=True)


class Unix(http.client.HTTPConnection):
    def __init__(self):
        super().__init__("localhost", timeout=120)

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(120)
        self.sock.connect(RUN + "/api.sock")


def call(method, path, body=None, connection=None):
    own = connection is None
    connection = connection or Unix()
    data = json.dumps(body) if body is not None else None
    connection.request(method, path, data, {"Content-Type": "application/json"} if data else {})
    reply = connection.getresponse()
    text = reply.read()
    if own:
        connection.close()
    if reply.status >= 400:
        raise RuntimeError(f"{method} {path}: {reply.status} {text[:400]}")
    return json.loads(text) if text else None


def console(name, connection):
    connection.request("GET", f"/vms/{name}/console")
    return connection.getresponse().read().decode()


class Daemon:
    def __init__(self, build):
        self.build = build
        self.state = tempfile.mkdtemp(prefix="svbench-", dir="/var/tmp")
        os.chmod(self.state, 0o755)
        self.process = None
        self.log = open(os.path.join(self.state, "log"), "ab+")

    def start(self):
        command = ["nsenter", f"--net=/run/netns/{NETNS}", os.path.join(self.build, "smartvmd"),
                   "--set", f"state_dir={self.state}/s", "--set", f"run_dir={RUN}", "--set", "user=nobody",
                   "--set", "network.bridge=svbench0", "--set", f"network.subnet={SUBNET}",
                   "--set", f'images.allowed_roots=["{self.state}"]',
                   "--set", "capacity.memory_mib=1073741824", "--set", "capacity.vcpu_factor=10000",  # as in tests/api/daemon.py
                   "--set", f'listen=["{RUN}/api.sock","127.0.0.1:{PORT}"]']
        self.log.seek(0, 2)
        begin = self.log.tell()
        self.process = subprocess.Popen(command, stderr=self.log)
        deadline = time.time() + 60
        while time.time() < deadline:
            self.log.seek(begin)
            found = re.search(rb"event=worker.settled ms=(\d+)", self.log.read())
            if found:
                return int(found.group(1))
            time.sleep(0.002)
        raise RuntimeError("the daemon did not get ready")

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait()

    def processes(self):
        children = open(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read().split()
        pids = [str(self.process.pid)]
        for child in children:
            if open(f"/proc/{child}/cmdline", "rb").read().startswith(b"smartvmd\0"):  # the API process and the keeper
                pids.append(child)
        return pids

    def memory_kib(self):
        """Resident memory of all processes, what they share counted once (PSS)."""
        total = 0
        for pid in self.processes():
            total += int(re.search(r"Pss:\s+(\d+)", open(f"/proc/{pid}/smaps_rollup").read()).group(1))
        return total

    def switches(self):
        total = 0
        for pid in self.processes():
            for task in os.listdir(f"/proc/{pid}/task"):
                status = open(f"/proc/{pid}/task/{task}/status").read()
                total += sum(int(n) for n in re.findall(r"ctxt_switches:\s+(\d+)", status))
        return total


def vm(name, network=True):
    body = {"id": name, "image": "tiny", "vmm": "firecracker", "machine_config": {"mem_size_mib": 32}}
    if network:
        body["network_interfaces"] = [{"iface_id": "eth0"}]
    return body


def each(names, work, threads):
    def run(part):
        connection = Unix()
        for name in part:
            work(name, connection)
        connection.close()
    parts = [names[i::threads] for i in range(threads)]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        list(pool.map(run, parts))


def create_all(names, network):
    """Creates them all; the wait on each comes second, so that all are under way at once."""
    each(names, lambda n, c: call("POST", "/vms", vm(n, network), c), 8)
    wait_for(lambda: count_state("running") + count_state("failed") == len(names), 120)
    failed = call("GET", "/vms?state=failed")["items"]
    if failed:
        raise RuntimeError(f"{len(failed)} VMs failed: {failed[0]['error']}")


def count_state(state):
    found, cursor = 0, None
    while True:
        page = call("GET", f"/vms?limit=1000&state={state}" + (f"&cursor={cursor}" if cursor else ""))
        found += len(page["items"])
        cursor = page["next_cursor"]
        if cursor is None:
            return found


def wait_for(condition, seconds):
    deadline = time.time() + seconds
    while not condition():
        if time.time() > deadline:
            raise RuntimeError("not reached in time")
        time.sleep(0.01)


def delete_all(names):
    each(names, lambda n, c: call("DELETE", f"/vms/{n}", None, c), 8)
    wait_for(lambda: not call("GET", "/vms?limit=1")["items"], 300)


LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWNS, MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 0x20000, 1, 32, 4096, 16384, 1 << 18
HAND_UID = 1879048190  # nobody's


def mount(source, target, kind, flags, data=None):
    texts = [text.encode() if text is not None else None for text in (source, target, kind)]
    if LIBC.mount(*texts, ctypes.c_ulong(flags), data.encode() if data else None) != 0:
        raise OSError(ctypes.get_errno(), f"mount {target}")


class ByHand:
    """The same Firecracker with the same configuration in the same kind of jail, by its jailer, started without the daemon."""

    def __init__(self, daemon):
        self.elf = os.path.join(daemon.state, "tiny.elf")
        self.root = os.path.join(daemon.state, "root.img")
        self.program = os.path.realpath(shutil.which("firecracker"))
        self.jailer = shutil.which("jailer")
        self.place = os.path.join(daemon.state, "jails")
        os.makedirs(self.place, exist_ok=True)
        self.processes = []

    def jail_of(self, index):
        return os.path.join(self.place, os.path.basename(self.program), f"h{index}", "root")

    def enter(self, index, config):
        """In the new process: mounts of its own, a small tmpfs, and in it what the jailer does not make."""
        jail = self.jail_of(index)
        if LIBC.unshare(CLONE_NEWNS) != 0:
            raise OSError(ctypes.get_errno(), "unshare")
        mount(None, "/", None, MS_REC | MS_PRIVATE)
        mount("none", self.place, "tmpfs", 0, "size=8m,mode=755")
        os.makedirs(jail)
        for source, name in ((self.elf, "kernel"), (self.root, "drive-rootfs")):
            open(os.path.join(jail, name), "w").close()
            mount(source, os.path.join(jail, name), None, MS_BIND)
            mount(None, os.path.join(jail, name), None, MS_BIND | MS_REMOUNT | MS_RDONLY)
        with open(os.path.join(jail, "vmm.json"), "w") as f:
            json.dump(config, f)
        os.chmod(os.path.join(jail, "vmm.json"), 0o644)

    def start(self, index, tap=None, console=subprocess.DEVNULL):
        config = {"boot-source": {"kernel_image_path": "kernel", "boot_args": "tiny=halt"},
                  "drives": [{"drive_id": "rootfs", "path_on_host": "drive-rootfs", "is_root_device": True,
                              "is_read_only": True}],
                  "machine-config": {"vcpu_count": 1, "mem_size_mib": 32}}
        if tap:
            config["network-interfaces"] = [{"iface_id": "eth0", "host_dev_name": tap}]
        process = subprocess.Popen(
            [self.jailer, "--id", f"h{index}", "--exec-file", self.program, "--uid", str(HAND_UID), "--gid", str(HAND_UID), "--chroot-base-dir", self.place,
             "--netns", f"/run/netns/{NETNS}", "--", "--api-sock", "api.sock", "--config-file", "vmm.json", "--level", "Error"],
            stdout=console, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL, preexec_fn=lambda: self.enter(index, config))
        self.processes.append(process)
        return process

    def listens(self, index):
        """Its API is there: as seen from outside, by its own root."""
        return os.path.exists(f"/proc/{self.processes[index].pid}/root/api.sock")

    def stop(self):
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.wait()
        self.processes = []


def until_line(process):
    data = b""
    while b"tiny: up" not in data:
        chunk = os.read(process.stdout.fileno(), 4096)
        if not chunk:
            raise RuntimeError("the guest said nothing")
        data += chunk


def bench_boot(daemon, hand):
    subprocess.run(["ip", "-n", NETNS, "tuntap", "add", "handtap", "mode", "tap", "user", str(HAND_UID), "vnet_hdr"], check=True)
    ours, floors = [], []
    connection = Unix()
    for i in range(15):
        begin = time.perf_counter()
        until_line(hand.start(0, "handtap", subprocess.PIPE))
        floors.append(time.perf_counter() - begin)
        hand.stop()
        begin = time.perf_counter()
        call("POST", "/vms?wait=20", vm(f"boot{i}"), connection)
        while "tiny: up" not in console(f"boot{i}", connection):
            pass
        ours.append(time.perf_counter() - begin)
        call("DELETE", f"/vms/boot{i}?wait=10", None, connection)
    value, floor = statistics.median(ours) * 1e3, statistics.median(floors) * 1e3
    figure("create_to_first_line", value, "ms", floor)
    figure("create_to_first_line_beyond_floor", value - floor, "ms", 5.0)


def bench_many(daemon, hand, count):
    begin = time.perf_counter()
    for i in range(count):
        hand.start(i)
    for i in range(count):
        while not hand.listens(i):
            time.sleep(0.001)
    floor = time.perf_counter() - begin
    hand.stop()
    names = [f"m{i}" for i in range(count)]
    base = daemon.memory_kib()
    begin = time.perf_counter()
    create_all(names, False)
    figure(f"create_{count}", time.perf_counter() - begin, "s", floor)
    memory = daemon.memory_kib()
    figure(f"memory_at_{count}", memory / 1024, "MiB", 16 + 8 * count / 1024)
    figure(f"memory_at_0", base / 1024, "MiB", 16)
    connection = Unix()
    once = list_all(connection)
    one_by_one = floor_list(connection, count)
    figure(f"list_{count}", statistics.median(list_all(connection) for _ in range(5)) * 1e3, "ms", one_by_one * 1e3)
    figure(f"list_{count}_first", once * 1e3, "ms", one_by_one * 1e3)
    daemon.stop()
    settled = daemon.start()
    running = count_state("running")
    if running != count:
        raise RuntimeError(f"{running} of {count} VMs were adopted")
    figure(f"adopt_{count}", settled, "ms", 300)
    begin = time.perf_counter()
    delete_all(names)
    figure(f"delete_{count}", time.perf_counter() - begin, "s", floor)


def list_all(connection):
    """The listing as it comes from the socket: what the client makes of it is its own time."""
    begin = time.perf_counter()
    connection.request("GET", "/vms?limit=1000")
    connection.getresponse().read()
    return time.perf_counter() - begin


def floor_list(connection, count):
    """One GET of a VM, as often as there are VMs, over one connection."""
    begin = time.perf_counter()
    for _ in range(50):
        call("GET", "/vms/m0", None, connection)
    return (time.perf_counter() - begin) / 50 * count


def bench_network(daemon, hand):
    names = [f"n{i}" for i in range(100)]
    begin = time.perf_counter()
    create_all(names, True)
    with_network = time.perf_counter() - begin
    begin = time.perf_counter()
    delete_all(names)
    took = time.perf_counter() - begin
    begin = time.perf_counter()
    create_all(names, False)
    without = time.perf_counter() - begin
    begin = time.perf_counter()
    delete_all(names)
    floor = time.perf_counter() - begin
    figure("create_100_with_network", with_network, "s", without)
    figure("delete_100_with_network", took, "s", floor)


class Events:
    """Follows /events; wait() is the time at which one of this type and operation came."""

    def __init__(self):
        self.connection = Unix()
        self.connection.request("GET", "/events")
        self.response = self.connection.getresponse()

    def wait(self, operation, count=1):
        while count > 0:
            line = self.response.readline()
            if line.startswith(b"data:") and b'"network.repaired"' in line and f'"{operation}"'.encode() in line:
                count -= 1
        return time.perf_counter()

    def close(self):
        self.connection.close()


def bench_drift(daemon, hand):
    """From the start of the command that breaks something, nft's and ip's own time included, to the event of its repair."""
    names = [f"d{i}" for i in range(100)]
    create_all(names, True)
    port = call("GET", "/vms/d0")["network_interfaces"][0]
    mark = "smartvm_svbench0"
    kinds = (
        ("drift_flush_100", ["nft", "flush", "ruleset"], "apply_firewall", 1),
        ("drift_rule", ["nft", "flush", "chain", "inet", mark, "forward"], "apply_firewall", 1),
        ("drift_element", ["nft", "delete", "element", "bridge", mark, "guest4",
                           f"{{ {port['tap']} . {port['mac']} . {port['ip']} }}"], "add_guests", 1),
        ("drift_bridge_down", ["ip", "link", "set", "svbench0", "down"], "ensure_bridge", 1),
        ("drift_tap_isolated", ["ip", "link", "set", port["tap"], "type", "bridge_slave", "isolated", "off"], "repair_tap", 1),
        ("drift_bridge_deleted_100", ["ip", "link", "del", "svbench0"], "repair_tap", 100),
    )
    events = Events()
    for name, command, operation, count in kinds:
        times = []
        for _ in range(5):
            call("POST", "/drift/repair?wait=10")  # what was repaired often would be held off
            begin = time.perf_counter()
            subprocess.run(["nsenter", f"--net=/run/netns/{NETNS}", *command], check=True)
            times.append(events.wait(operation, count) - begin)
        figure(name, statistics.median(times) * 1e3, "ms", 100)
    events.close()
    delete_all(names)


def wrk(port, path):
    out = subprocess.run(["nsenter", f"--net=/run/netns/{NETNS}", "wrk", "-t1", "-c8", "-d3s",
                          f"http://127.0.0.1:{port}{path}"], capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in out:
        raise RuntimeError(out)
    return float(re.search(r"Requests/sec:\s+([\d.]+)", out).group(1))


def bench_http(daemon, hand):
    bare = subprocess.Popen(["nsenter", f"--net=/run/netns/{NETNS}", os.path.join(daemon.build, "tests/bench_bare"),
                             str(BARE_PORT)])
    call("POST", "/vms?wait=20", vm("http"))
    try:
        time.sleep(0.2)
        pairs = [(wrk(PORT, "/vms/http"), wrk(BARE_PORT, "/")) for _ in range(3)]
        figure("get_vm_requests", statistics.median(p[0] for p in pairs), "per_s",
               statistics.median(p[1] for p in pairs))
    finally:
        bare.kill()
        bare.wait()
        call("DELETE", "/vms/http?wait=10")


def bench_idle(daemon, hand):
    call("POST", "/vms?wait=20", vm("idle"))
    time.sleep(3)
    before = daemon.switches()
    time.sleep(60)
    figure("idle_switches_in_60s", daemon.switches() - before, "count", 0)
    call("DELETE", "/vms/idle?wait=10")


def bench_policy(daemon, hand):
    subprocess.run([os.path.join(daemon.build, "tests/bench_policy")], check=True)


BENCHES = {
    "boot": bench_boot,
    "many100": lambda d, h: bench_many(d, h, 100),
    "many1000": lambda d, h: bench_many(d, h, 1000),
    "network": bench_network,
    "drift": bench_drift,
    "http": bench_http,
    "policy": bench_policy,
    "attach": lambda d, h: subprocess.run([os.path.join(d.build, "tests/bench_attach")], check=True),
    "idle": bench_idle,
}


def main():
    build, names = sys.argv[1], sys.argv[2:] or list(BENCHES)
    unknown = [n for n in names if n not in BENCHES]
    if unknown:
        sys.exit(f"bench: not known: {' '.join(unknown)}; there are {' '.join(BENCHES)}")
    subprocess.run(["ip", "netns", "del", NETNS], stderr=subprocess.DEVNULL)
    subprocess.run(["ip", "netns", "add", NETNS], check=True)
    subprocess.run(["ip", "-n", NETNS, "link", "set", "lo", "up"], check=True)
    subprocess.run(["umount", "-l", RUN], stderr=subprocess.DEVNULL)
    os.makedirs(RUN, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", RUN], check=True)  # as /run is on a host
    daemon = Daemon(build)
    shutil.copy(os.path.join(build, "tests/guest/tiny.elf"), os.path.join(daemon.state, "tiny.elf"))
    with open(os.path.join(daemon.state, "root.img"), "wb") as f:
        f.truncate(1 << 20)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext2", f.name], check=True)
    hand = ByHand(daemon)
    try:
        daemon.start()
        time.sleep(1.5)  # KVM is being measured
        call("POST", "/images?wait=30", {"manifest": {
            "schema_version": 1, "bundle_id": "tiny", "rootfs_type": "ext4", "rootfs_is_read_only": True,
            "kernel": {"path": f"{daemon.state}/tiny.elf"}, "rootfs": {"path": f"{daemon.state}/root.img"}}})
        for name in names:
            BENCHES[name](daemon, hand)
    finally:
        hand.stop()
        if daemon.process and daemon.process.poll() is None:
            vms = [v["id"] for v in call("GET", "/vms?limit=1000")["items"]]
            if vms:
                delete_all(vms)
            daemon.stop()
        subprocess.run(["ip", "netns", "del", NETNS])
        subprocess.run(["umount", "-l", RUN])
        shutil.rmtree(daemon.state, ignore_errors=True)
        shutil.rmtree(RUN, ignore_errors=True)


if __name__ == "__main__":
    main()
