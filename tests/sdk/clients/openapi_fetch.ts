// What a user of openapi-typescript and openapi-fetch does: BASE_URL VM.
import createClient from "openapi-fetch";
import type { components, paths } from "./schema.js";

const [base, name] = process.argv.slice(2) as [string, string];
const client = createClient<paths>({ baseUrl: base });
const path = { params: { path: { id: name } } };

function check(ok: unknown, what: string, seen?: unknown): asserts ok {
  if (!ok) {
    console.error("not as it should be:", what, seen);
    process.exit(1);
  }
}

const rule: components["schemas"]["EgressRule"] = { action: "deny", to: "192.0.2.0/24", protocol: "tcp", ports: [25, "8000-8010"] };
const made = await client.POST("/vms", {
  params: { query: { wait: 20 } },
  body: {
    id: name, image: "tiny", vmm: "firecracker", boot_args: "tiny=echo", machine_config: { mem_size_mib: 32 },
    network_interfaces: [{ iface_id: "eth0" }], labels: { "made-by": "typescript", old: "1" }, firewall: { egress: { rules: [rule] } },
  },
});
check(made.data && made.data.state === "running" && made.data.vmm.pid && made.data.error === null, "the new VM", made);

const vm = await client.GET("/vms/{id}", path);
check(vm.data?.machine_config.mem_size_mib === 32, "the VM", vm);

const found: string[] = [];
for (let cursor: string | null | undefined; cursor !== null; ) {
  const page = await client.GET("/vms", { params: { query: { limit: 1, cursor } } });
  check(page.data, "the list", page.error);
  found.push(...page.data.items.map((item) => item.id));
  cursor = page.data.next_cursor;
}
check(found.includes(name), "the list", found);

const firewall = await client.GET("/vms/{id}/firewall", path);
check(firewall.data?.egress.rules[0]?.ports?.join() === "25,8000-8010", "the ports of the rule", firewall);
check(firewall.data.own && firewall.data.counters?.egress?.rules[0]?.packets === 0, "the counters", firewall.data);

const patched = await client.PATCH("/vms/{id}", { params: { ...path.params, query: { wait: 20 } }, body: { labels: { old: null, new: "2" } } });
check(patched.data && JSON.stringify(patched.data.labels) === '{"made-by":"typescript","new":"2"}', "the labels", patched);

const typed = await client.POST("/vms/{id}/console", { ...path, body: "hello", bodySerializer: (text) => text, headers: { "Content-Type": "text/plain" } });
check(typed.response.status === 204, "the console's input", typed.error);
let text = "";
for (let i = 0; i < 100 && !text.includes("hello"); i++) {
  text = (await client.GET("/vms/{id}/console", { ...path, parseAs: "text" })).data ?? "";
  await new Promise((done) => setTimeout(done, 100));
}
check(text.includes("tiny: up") && text.includes("hello"), "the console", text);

const stop = new AbortController();
const events = await client.GET("/events", { params: { header: { "Last-Event-ID": "0" } }, parseAs: "stream", signal: stop.signal });
check(events.data, "the events", events.error);
let got = "";
for await (const part of events.data as unknown as AsyncIterable<Uint8Array>) {
  got += Buffer.from(part).toString();
  if (got.includes(`/vms/${name}"`)) break;
}
stop.abort();
check(got.includes(`/vms/${name}"`), "the events", got);

const none = await client.GET("/vms/{id}", { params: { path: { id: "none" } } });
check(none.error?.code === "NOT_FOUND" && none.error.errors.length === 0, "the problem", none.error);
const refused = await client.PATCH("/vms/{id}", { ...path, body: { machine_config: { vcpu_count: 3 } } });
check(refused.error?.errors[0]?.pointer === "/machine_config/vcpu_count", "the refusal", refused.error);

const gone = await client.DELETE("/vms/{id}", { params: { ...path.params, query: { wait: 20 } } });
check(gone.response.status === 204, "the end of the VM", gone.error);
check((await client.GET("/vms/{id}", path)).response.status === 404, "the VM that is gone");
