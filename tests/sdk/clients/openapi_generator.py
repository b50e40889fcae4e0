"""What a user of openapi-generator's Python client does: BASE_URL VM."""

import sys
import time

from openapi_client import ApiClient, ApiException, Configuration, FirewallApi, ServiceApi, VmsApi
from openapi_client.exceptions import NotFoundException
from openapi_client.models import (
    Action,
    EgressPolicy,
    EgressRule,
    MachineConfig,
    MachineConfigPatch,
    Peers,
    Policy,
    PortMatch,
    Problem,
    RulePorts,
    RuleProtocol,
    VmCreate,
    VmInterfaceCreate,
    VmPatch,
    VmState,
    VmmChoice,
)

base, name = sys.argv[1:]
api = ApiClient(Configuration(host=base))
vms, firewall, service = VmsApi(api), FirewallApi(api), ServiceApi(api)

rule = EgressRule(action=Action.DENY, to=Peers("192.0.2.0/24"), protocol=RuleProtocol.TCP, ports=RulePorts([PortMatch(25), PortMatch("8000-8010")]))
vm = vms.create_vm(
    VmCreate(
        id=name,
        image="tiny",
        vmm=VmmChoice.FIRECRACKER,
        boot_args="tiny=echo",
        machine_config=MachineConfig(mem_size_mib=32),
        network_interfaces=[VmInterfaceCreate(iface_id="eth0")],
        labels={"made-by": "python", "old": "1"},
        firewall=Policy(egress=EgressPolicy(rules=[rule])),
    ),
    wait=20,
)
assert vm.state == VmState.RUNNING and vm.vmm.pid > 0 and vm.error is None, vm

assert vms.get_vm(name).machine_config.mem_size_mib == 32
assert vms.get_vm_with_http_info(name).headers["ETag"]

found, cursor = [], None
while True:
    page = vms.list_vms(limit=1, cursor=cursor)
    found += [item.id for item in page.items]
    cursor = page.next_cursor
    if cursor is None:
        break
assert name in found, found

seen = firewall.get_vm_firewall(name)
assert [port.actual_instance for port in seen.egress.rules[0].ports] == [25, "8000-8010"], seen
assert seen.own and seen.counters.egress.rules[0].packets == 0, seen

vm = vms.patch_vm(name, VmPatch(labels={"old": None, "new": "2"}), wait=20)
assert vm.labels == {"made-by": "python", "new": "2"}, vm.labels

vms.write_console(name, "hello")
for _ in range(100):
    text = vms.get_console(name)
    if "hello" in text:
        break
    time.sleep(0.1)
assert "tiny: up" in text and "hello" in text, text

stored = service.stream_events(last_event_id="0", follow=False)
assert f'/vms/{name}"' in stored, stored
stream = service.stream_events_without_preload_content(last_event_id="0")
got = b""
while f'/vms/{name}"'.encode() not in got:
    got += stream.read(256)
stream.close()

try:
    vms.get_vm("none")
    raise AssertionError("a VM that is not there was found")
except NotFoundException as error:
    assert isinstance(error.data, Problem) and error.data.code == "NOT_FOUND" and error.data.errors == [], error.data
try:
    vms.patch_vm(name, VmPatch(machine_config=MachineConfigPatch(vcpu_count=3)))
    raise AssertionError("an odd number of processors was taken")
except ApiException as error:
    assert error.data.errors[0].pointer == "/machine_config/vcpu_count", error.data

vms.delete_vm(name, wait=20)
try:
    vms.get_vm(name)
    raise AssertionError("it is still there")
except NotFoundException:
    pass
