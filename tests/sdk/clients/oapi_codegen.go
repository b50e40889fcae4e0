// What a user of oapi-codegen's client does: BASE_URL VM.
package main

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"sdk/smartvm"
)

func check(ok bool, what string, seen ...any) {
	if !ok {
		fmt.Fprintln(os.Stderr, append([]any{"not as it should be:", what}, seen...)...)
		os.Exit(1)
	}
}

func must[T any](value T, err error) T {
	check(err == nil, "a call", err)
	return value
}

func ptr[T any](value T) *T { return &value }

func ports() *smartvm.RulePorts {
	var one, several smartvm.PortMatch
	check(one.FromPortNumber(25) == nil && several.FromPortRange("8000-8010") == nil, "ports")
	var all smartvm.RulePorts
	check(all.FromPortList(smartvm.PortList{one, several}) == nil, "a list of ports")
	return &all
}

func create(ctx context.Context, c *smartvm.ClientWithResponses, name string) {
	var to smartvm.Peers
	check(to.FromPeer("192.0.2.0/24") == nil, "a peer")
	rule := smartvm.EgressRule{Action: smartvm.Deny, To: &to, Protocol: ptr(smartvm.Tcp), Ports: ports()}
	reply := must(c.CreateVmWithResponse(ctx, &smartvm.CreateVmParams{Wait: ptr(20)}, smartvm.VmCreate{
		Id: &name, Image: "tiny", Vmm: ptr(smartvm.Firecracker), BootArgs: ptr("tiny=echo"),
		MachineConfig:     &smartvm.MachineConfig{MemSizeMib: ptr(32)},
		NetworkInterfaces: &[]smartvm.VmInterfaceCreate{{IfaceId: "eth0"}},
		Labels:            &smartvm.Labels{"made-by": "go", "old": "1"},
		Firewall:          &smartvm.Policy{Egress: &smartvm.EgressPolicy{Rules: &[]smartvm.EgressRule{rule}}},
	}))
	vm := reply.JSON201
	check(vm != nil && vm.State == smartvm.Running && *vm.Vmm.Pid > 0 && vm.Error == nil, "the new VM", string(reply.Body))
}

func look(ctx context.Context, c *smartvm.ClientWithResponses, name string) {
	vm := must(c.GetVmWithResponse(ctx, name))
	check(vm.JSON200 != nil && vm.JSON200.MachineConfig.MemSizeMib == 32, "the VM", string(vm.Body))
	var found []string
	params := smartvm.ListVmsParams{Limit: ptr(1)}
	for {
		page := must(c.ListVmsWithResponse(ctx, &params)).JSON200
		for _, item := range page.Items {
			found = append(found, item.Id)
		}
		if page.NextCursor == nil {
			break
		}
		params.Cursor = page.NextCursor
	}
	check(slices.Contains(found, name), "the list", found)
	firewall := must(c.GetVmFirewallWithResponse(ctx, name)).JSON200
	seen := *firewall.Egress.Rules[0].Ports
	check(must(seen[0].AsPortNumber()) == 25 && must(seen[1].AsPortRange()) == "8000-8010", "the ports of the rule")
	check(firewall.Own && firewall.Counters.Egress.Rules[0].Packets == 0, "the counters")
}

func console(ctx context.Context, c *smartvm.ClientWithResponses, name string) {
	check(must(c.WriteConsoleWithTextBodyWithResponse(ctx, name, nil, "hello")).StatusCode() == 204, "the console's input")
	text := ""
	for range 100 {
		text = string(must(c.GetConsoleWithResponse(ctx, name, nil)).Body)
		if strings.Contains(text, "hello") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	check(strings.Contains(text, "tiny: up") && strings.Contains(text, "hello"), "the console", text)
}

func events(ctx context.Context, c *smartvm.ClientWithResponses, name string) {
	following, stop := context.WithCancel(ctx)
	defer stop()
	reply := must(c.StreamEvents(following, &smartvm.StreamEventsParams{LastEventID: ptr("0")}))
	defer reply.Body.Close()
	lines := bufio.NewScanner(reply.Body)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "/vms/"+name+`"`) {
			return
		}
	}
	check(false, "the events")
}

func problems(ctx context.Context, c *smartvm.ClientWithResponses, name string) {
	problem := must(c.GetVmWithResponse(ctx, "none")).ApplicationproblemJSON404
	check(problem != nil && problem.Code == smartvm.CodeNotFound && len(problem.Errors) == 0, "the problem", problem)
	refused := must(c.PatchVmWithResponse(ctx, name, nil, smartvm.VmPatch{MachineConfig: &smartvm.MachineConfigPatch{VcpuCount: ptr(3)}}))
	check(refused.ApplicationproblemJSON400 != nil && refused.ApplicationproblemJSON400.Errors[0].Pointer == "/machine_config/vcpu_count", "the refusal",
		string(refused.Body))
}

func main() {
	base, name := os.Args[1], os.Args[2]
	ctx := context.Background()
	c := must(smartvm.NewClientWithResponses(base))
	create(ctx, c, name)
	look(ctx, c, name)
	patched := must(c.PatchVmWithResponse(ctx, name, &smartvm.PatchVmParams{Wait: ptr(20)}, smartvm.VmPatch{Labels: &smartvm.LabelsPatch{"old": nil, "new": ptr("2")}}))
	check(patched.JSON200 != nil && len(patched.JSON200.Labels) == 2 && patched.JSON200.Labels["new"] == "2", "the labels", string(patched.Body))
	console(ctx, c, name)
	events(ctx, c, name)
	problems(ctx, c, name)
	check(must(c.DeleteVmWithResponse(ctx, name, &smartvm.DeleteVmParams{Wait: ptr(20)})).StatusCode() == 204, "the end of the VM")
	check(must(c.GetVmWithResponse(ctx, name)).StatusCode() == 404, "the VM that is gone")
}
