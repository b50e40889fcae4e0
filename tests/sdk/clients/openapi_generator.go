// What a user of openapi-generator's Go client does: BASE_URL VM.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	openapi "sdk/openapi"
)

func check(ok bool, what string, seen ...any) {
	if !ok {
		fmt.Fprintln(os.Stderr, append([]any{"not as it should be:", what}, seen...)...)
		os.Exit(1)
	}
}

func ptr[T any](value T) *T { return &value }

func create(ctx context.Context, c *openapi.APIClient, name string) {
	ports := []openapi.PortMatch{openapi.Int32AsPortMatch(ptr(int32(25))), openapi.StringAsPortMatch(ptr("8000-8010"))}
	rule := openapi.EgressRule{Action: openapi.DENY, To: &openapi.Peers{String: ptr("192.0.2.0/24")}, Protocol: openapi.TCP.Ptr(),
		Ports: &openapi.RulePorts{ArrayOfPortMatch: &ports}}
	wanted := openapi.NewVmCreate("tiny")
	wanted.SetId(name)
	wanted.SetVmm(openapi.FIRECRACKER)
	wanted.SetBootArgs("tiny=echo")
	wanted.SetMachineConfig(openapi.MachineConfig{MemSizeMib: ptr(int32(32))})
	wanted.SetNetworkInterfaces([]openapi.VmInterfaceCreate{{IfaceId: "eth0"}})
	wanted.SetLabels(map[string]string{"made-by": "go", "old": "1"})
	wanted.SetFirewall(openapi.Policy{Egress: &openapi.EgressPolicy{Rules: []openapi.EgressRule{rule}}})
	vm, _, err := c.VmsAPI.CreateVm(ctx).VmCreate(*wanted).Wait(20).Execute()
	check(err == nil && vm.State == openapi.RUNNING && *vm.Vmm.Pid.Get() > 0 && vm.Error.Get() == nil, "the new VM", err)
}

func look(ctx context.Context, c *openapi.APIClient, name string) {
	vm, _, err := c.VmsAPI.GetVm(ctx, name).Execute()
	check(err == nil && vm.MachineConfig.MemSizeMib == 32, "the VM", err)
	var found []string
	request := c.VmsAPI.ListVms(ctx).Limit(1)
	for {
		page, _, err := request.Execute()
		check(err == nil, "the list", err)
		for _, item := range page.Items {
			found = append(found, item.Id)
		}
		if page.NextCursor.Get() == nil {
			break
		}
		request = request.Cursor(*page.NextCursor.Get())
	}
	check(slices.Contains(found, name), "the list", found)
	firewall, _, err := c.FirewallAPI.GetVmFirewall(ctx, name).Execute()
	check(err == nil, "the firewall", err)
	seen := firewall.Egress.Rules[0].Ports
	check(*seen[0].Int32 == 25 && *seen[1].String == "8000-8010", "the ports of the rule")
	check(firewall.Own && firewall.Counters.Get().Egress.Get().Rules[0].Packets == 0, "the counters")
}

func console(ctx context.Context, c *openapi.APIClient, name string) {
	_, _, err := c.VmsAPI.WriteConsole(ctx, name).Body("hello").Execute()
	check(err == nil, "the console's input", err)
	text := ""
	for range 100 {
		text, _, err = c.VmsAPI.GetConsole(ctx, name).Execute()
		check(err == nil, "the console", err)
		if strings.Contains(text, "hello") {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	check(strings.Contains(text, "tiny: up") && strings.Contains(text, "hello"), "the console", text)
}

func problems(ctx context.Context, c *openapi.APIClient, name string) {
	var failure *openapi.GenericOpenAPIError
	_, _, err := c.VmsAPI.GetVm(ctx, "none").Execute()
	check(errors.As(err, &failure), "the error", err)
	problem, ok := failure.Model().(openapi.Problem)
	check(ok && problem.Code == "NOT_FOUND" && len(problem.Errors) == 0, "the problem", failure.Model())
	wrong := openapi.MachineConfigPatch{VcpuCount: *openapi.NewNullableInt32(ptr(int32(3)))}
	patch := openapi.VmPatch{MachineConfig: *openapi.NewNullableMachineConfigPatch(&wrong)}
	_, _, err = c.VmsAPI.PatchVm(ctx, name).VmPatch(patch).Execute()
	check(errors.As(err, &failure), "the refusal", err)
	problem, ok = failure.Model().(openapi.Problem)
	check(ok && problem.Errors[0].Pointer == "/machine_config/vcpu_count", "the refusal", failure.Model())
}

func main() {
	base, name := os.Args[1], os.Args[2]
	ctx := context.Background()
	configuration := openapi.NewConfiguration()
	configuration.Servers = openapi.ServerConfigurations{{URL: base}}
	c := openapi.NewAPIClient(configuration)
	create(ctx, c, name)
	look(ctx, c, name)
	vm, _, err := c.VmsAPI.PatchVm(ctx, name).VmPatch(openapi.VmPatch{Labels: map[string]*string{"old": nil, "new": ptr("2")}}).Wait(20).Execute()
	check(err == nil && len(vm.Labels) == 2 && vm.Labels["new"] == "2", "the labels", err)
	console(ctx, c, name)
	events, _, err := c.ServiceAPI.StreamEvents(ctx).LastEventID("0").Follow(false).Execute()
	check(err == nil && strings.Contains(events, "/vms/"+name+`"`), "the events", err, events)
	problems(ctx, c, name)
	_, reply, err := c.VmsAPI.DeleteVm(ctx, name).Wait(20).Execute()
	check(err == nil && reply.StatusCode == 204, "the end of the VM", err)
	_, reply, _ = c.VmsAPI.GetVm(ctx, name).Execute()
	check(reply.StatusCode == 404, "the VM that is gone")
}
