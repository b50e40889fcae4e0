// What a user of openapi-generator's Java client does: BASE_URL VM.

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.openapitools.client.ApiClient;
import org.openapitools.client.ApiException;
import org.openapitools.client.api.FirewallApi;
import org.openapitools.client.api.ServiceApi;
import org.openapitools.client.api.VmsApi;
import org.openapitools.client.model.*;

public class OpenapiGenerator {
    private final VmsApi vms;
    private final FirewallApi firewall;
    private final ServiceApi service;
    private final String name;

    private OpenapiGenerator(ApiClient client, String name) {
        vms = new VmsApi(client);
        firewall = new FirewallApi(client);
        service = new ServiceApi(client);
        this.name = name;
    }

    private static void check(boolean ok, String what, Object seen) {
        if (!ok) {
            System.err.println("not as it should be: " + what + ": " + seen);
            System.exit(1);
        }
    }

    private void create() throws ApiException {
        EgressRule rule = new EgressRule().action(Action.DENY).to(new Peers("192.0.2.0/24")).protocol(RuleProtocol.TCP)
            .ports(new RulePorts(List.of(new PortMatch(25), new PortMatch("8000-8010"))));
        VmCreate wanted = new VmCreate().id(name).image("tiny").vmm(VmmChoice.FIRECRACKER).bootArgs("tiny=echo")
            .machineConfig(new MachineConfig().memSizeMib(32))
            .addNetworkInterfacesItem(new VmInterfaceCreate().ifaceId("eth0"))
            .labels(Map.of("made-by", "java", "old", "1"))
            .firewall(new Policy().egress(new EgressPolicy().addRulesItem(rule)));
        Vm vm = vms.createVm(wanted, null, 20, WaitFor.WaitRunning, null, null);
        check(vm.getState() == VmState.RUNNING && vm.getVmm().getPid() > 0 && vm.getError() == null, "the new VM", vm);
    }

    private void look() throws ApiException {
        check(vms.getVm(name).getMachineConfig().getMemSizeMib() == 32, "the VM", name);
        List<String> found = new ArrayList<>();
        String cursor = null;
        do {
            VmList page = vms.listVms(1, cursor, null, null);
            page.getItems().forEach(item -> found.add(item.getId()));
            cursor = page.getNextCursor();
        } while (cursor != null);
        check(found.contains(name), "the list", found);
        VmFirewall seen = firewall.getVmFirewall(name);
        List<PortMatch> ports = seen.getEgress().getRules().get(0).getPorts();
        check(ports.get(0).getInteger() == 25 && ports.get(1).getString().equals("8000-8010"), "the ports of the rule", ports);
        check(seen.getOwn() && seen.getCounters().getEgress().getRules().get(0).getPackets() == 0, "the counters", seen);
    }

    private void console() throws Exception {
        vms.writeConsole(name, "hello", null);
        String text = "";
        for (int i = 0; i < 100 && !text.contains("hello"); i++) {
            text = vms.getConsole(name, null, null);
            Thread.sleep(100);
        }
        check(text.contains("tiny: up") && text.contains("hello"), "the console", text);
    }

    private void problems() throws Exception {
        try {
            vms.getVm("none");
            check(false, "a VM that is not there", "found");
        } catch (ApiException e) {
            Problem problem = Problem.fromJson(e.getResponseBody());
            check(e.getCode() == 404 && problem.getCode().getValue().equals("NOT_FOUND") && problem.getErrors().isEmpty(), "the problem", problem);
        }
        try {
            vms.patchVm(name, new VmPatch().machineConfig(new MachineConfigPatch().vcpuCount(3)), null, null, null, null);
            check(false, "an odd number of processors", "taken");
        } catch (ApiException e) {
            Problem problem = Problem.fromJson(e.getResponseBody());
            check(problem.getErrors().get(0).getPointer().equals("/machine_config/vcpu_count"), "the refusal", problem);
        }
    }

    private void all() throws Exception {
        create();
        look();
        // Its JSON leaves nulls out, so a label can't be removed.
        Vm vm = vms.patchVm(name, new VmPatch().labels(Map.of("new", "2")), null, 20, null, null);
        check(vm.getLabels().equals(Map.of("made-by", "java", "old", "1", "new", "2")), "the labels", vm.getLabels());
        console();
        String events = service.streamEvents("0", null, null, null, false);
        check(events.contains("/vms/" + name + "\""), "the events", events);
        problems();
        check(vms.deleteVmWithHttpInfo(name, null, 20, null).getStatusCode() == 204, "the end of the VM", name);
        try {
            vms.getVm(name);
            check(false, "the VM that is gone", "found");
        } catch (ApiException e) {
            check(e.getCode() == 404, "the VM that is gone", e);
        }
    }

    public static void main(String[] args) throws Exception {
        new OpenapiGenerator(new ApiClient().setBasePath(args[0]), args[1]).all();
        System.exit(0);
    }
}
