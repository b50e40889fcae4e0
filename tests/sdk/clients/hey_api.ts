// What a user of @hey-api/openapi-ts does: BASE_URL VM.
import { createVm, deleteVm, getConsole, getVm, getVmFirewall, listVms, patchVm, streamEvents, writeConsole } from "./hey/sdk.gen.js";
import { client } from "./hey/client.gen.js";
import type { EgressRule } from "./hey/types.gen.js";

const [base, name] = process.argv.slice(2) as [string, string];
const path = { id: name };
client.setConfig({ baseUrl: base });

function check(ok: unknown, what: string, seen?: unknown): asserts ok {
  if (!ok) {
    console.error("not as it should be:", what, seen);
    process.exit(1);
  }
}

const rule: EgressRule = { action: "deny", to: ["192.0.2.0/24"], protocol: "tcp", ports: [25, "8000-8010"] };
const made = await createVm({
  query: { wait: 20 },
  body: {
    id: name, image: "tiny", vmm: "firecracker", boot_args: "tiny=echo", machine_config: { mem_size_mib: 32 },
    network_interfaces: [{ iface_id: "eth0" }], labels: { "made-by": "typescript", old: "1" }, firewall: { egress: { rules: [rule] } },
  },
});
check(made.data && made.data.state === "running" && made.data.vmm.pid && made.data.error === null, "the new VM", made);
check((await getVm({ path })).data?.machine_config.mem_size_mib === 32, "the VM");

const list = await listVms({ query: { limit: 1000 } });
check(list.data?.items.some((item) => item.id === name), "the list", list);
const firewall = await getVmFirewall({ path });
check(firewall.data?.egress.rules[0]?.ports?.join() === "25,8000-8010", "the ports of the rule", firewall);

const patched = await patchVm({ path, query: { wait: 20 }, body: { labels: { old: null, new: "2" } } });
check(patched.data && JSON.stringify(patched.data.labels) === '{"made-by":"typescript","new":"2"}', "the labels", patched);

const typed = await writeConsole({ path, body: "hello", headers: { "Content-Type": "text/plain" } });
check(typed.response?.status === 204, "the console's input", typed.error);
let text = "";
for (let i = 0; i < 100 && !text.includes("hello"); i++) {
  text = (await getConsole({ path })).data ?? "";
  await new Promise((done) => setTimeout(done, 100));
}
check(text.includes("tiny: up") && text.includes("hello"), "the console", text);

const stop = new AbortController();
const events = await streamEvents({ headers: { "Last-Event-ID": "0" }, signal: stop.signal });
let got = "";
for await (const event of events.stream) {
  got += JSON.stringify(event);
  if (got.includes(name)) break;
}
stop.abort();
check(got.includes(name), "the events", got);

const none = await getVm({ path: { id: "none" } });
check(none.error?.code === "NOT_FOUND" && none.error.errors.length === 0, "the problem", none.error);
const gone = await deleteVm({ path, query: { wait: 20 } });
check(gone.response?.status === 204, "the end of the VM", gone.error);
check((await getVm({ path })).response?.status === 404, "the VM that is gone");
process.exit(0);
