"""The daemon goes and comes; what guests do is not disturbed by it."""

from case import BoxCase
from harness import eventually, limit


class DaemonRestart(BoxCase):
    def ticks(self):
        return int(self.box.sh("cat /tmp/ticks 2> /dev/null | wc -l"))

    def ticking(self):
        before = self.ticks()
        eventually(lambda: self.ticks() > before + 2, "more ticks", 30, 0.2)

    @limit(300)
    def test_connections_of_guests_are_unbroken(self):
        vm = self.linux("ticker")
        self.guest_up(vm)
        # One connection: the listener takes no second.
        self.box.sh("rm -f /tmp/ticks; setsid ip netns exec world socat -u TCP-LISTEN:9000 OPEN:/tmp/ticks,creat,append > /dev/null 2>&1 &")
        self.type(vm, "(while :; do echo tick; usleep 200000; done | nc 192.0.2.1 9000) & echo began-$((1 + 1))", "began-2")
        self.ticking()
        for end in (self.box.kill_daemon, self.box.stop_daemon):
            end()
            self.ticking()
            self.box.start_daemon()
            self.ticking()
            adopted = self.await_vm("ticker", lambda v: v["state"] == "running", timeout=60)
            self.assertEqual(vm["vmm"]["pid"], adopted["vmm"]["pid"])
            self.type(vm, f"echo {end.__name__}-$((6 * 7))", f"{end.__name__}-42")
        self.act("ticker", "kill", wait=60)
