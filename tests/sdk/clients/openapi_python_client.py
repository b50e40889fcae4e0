"""What a user of openapi-python-client's client does: BASE_URL VM."""

import io
import sys
import time

from client import Client
from client.api.firewall import get_vm_firewall
from client.api.service import stream_events
from client.api.vms import create_vm, delete_vm, get_console, get_vm, list_vms, patch_vm, write_console
from client.models import (
    Action,
    EgressPolicy,
    EgressRule,
    Labels,
    LabelsPatch,
    MachineConfig,
    MachineConfigPatch,
    Policy,
    Problem,
    RuleProtocol,
    Vm,
    VmCreate,
    VmInterfaceCreate,
    VmmChoice,
    VmPatch,
    VmState,
)
from client.types import UNSET, File

base, name = sys.argv[1:]
client = Client(base_url=base, timeout=60)

labels = Labels()
labels.additional_properties = {"made-by": "python", "old": "1"}
rule = EgressRule(action=Action.DENY, to="192.0.2.0/24", protocol=RuleProtocol.TCP, ports=[25, "8000-8010"])
vm = create_vm.sync(
    client=client,
    body=VmCreate(
        id=name,
        image="tiny",
        vmm=VmmChoice.FIRECRACKER,
        boot_args="tiny=echo",
        machine_config=MachineConfig(mem_size_mib=32),
        network_interfaces=[VmInterfaceCreate(iface_id="eth0")],
        labels=labels,
        firewall=Policy(egress=EgressPolicy(rules=[rule])),
    ),
    wait=20,
)
assert isinstance(vm, Vm) and vm.state == VmState.RUNNING and vm.vmm.pid > 0 and vm.error is None, vm

vm = get_vm.sync(name, client=client)
assert vm.machine_config.mem_size_mib == 32, vm

found, cursor = [], UNSET
while cursor is not None:
    page = list_vms.sync(client=client, limit=1, cursor=cursor)
    found += [item.id for item in page.items]
    cursor = page.next_cursor
assert name in found, found

seen = get_vm_firewall.sync(name, client=client)
assert seen.egress.rules[0].ports == [25, "8000-8010"], seen
assert seen.own and seen.counters.egress.rules[0].packets == 0, seen

change = LabelsPatch()
change.additional_properties = {"old": None, "new": "2"}
vm = patch_vm.sync(name, client=client, body=VmPatch(labels=change), wait=20)
assert vm.labels.additional_properties == {"made-by": "python", "new": "2"}, vm

write_console.sync_detailed(name, client=client, body=File(payload=io.BytesIO(b"hello")))
for _ in range(100):
    text = get_console.sync(name, client=client)
    if "hello" in text:
        break
    time.sleep(0.1)
assert "tiny: up" in text and "hello" in text, text

events = stream_events.sync(client=client, follow=False, last_event_id="0")
assert f'/vms/{name}"' in events, events

problem = get_vm.sync("none", client=client)
assert isinstance(problem, Problem) and problem.code == "NOT_FOUND" and problem.errors == [], problem
problem = patch_vm.sync(name, client=client, body=VmPatch(machine_config=MachineConfigPatch(vcpu_count=3)))
assert isinstance(problem, Problem) and problem.errors[0].pointer == "/machine_config/vcpu_count", problem

assert delete_vm.sync_detailed(name, client=client, wait=20).status_code == 204
assert get_vm.sync_detailed(name, client=client).status_code == 404
