/* The network as a resource: PATCH /network, leases, published ports of VMs. */
#include "tests/unit/api/api_box.h"

#include "core/strbuf.h"
#include "db/leases.h"
#include "db/network.h"

/* Whether another daemon has the subnet, the worker is asked. */
static int patch_answered(const char *body, const char *answer)
{
    int status = box_send("PATCH", "/network", body, NULL);
    if (box.reply.kind == API_REPLY_ASK) {
        ck_assert_ptr_nonnull(strstr(box.reply.question, "network_check"));
        box_answer(answer, -1);
        status = box.reply.kind == API_REPLY_WAIT ? 0 : box.reply.status;
    }
    return status;
}
#define PATCH(body) patch_answered(body, "{\"answer\":{}}")

/* The worker's part: it has looked at what is wanted now. */
static void observe_network(void)
{
    struct network_overrides overrides;
    char fact[128];
    must(network_overrides_get(box.worker, &overrides, &box_error));
    (void)snprintf(fact, sizeof fact, "{\"uplink\":\"eth0\",\"observed_generation\":%d,\"conditions\":[]}", (int)overrides.generation);
    must(facts_set(box.worker, "network", fact, NULL, &box_error));
}

static int64_t number(const char *member)
{
    return json_get_int(box.json, member, -1);
}

START_TEST(test_before_the_first_look)
{
    box_refused(503, "UNAVAILABLE", "GET", "/network", NULL, NULL);
    box_refused(503, "UNAVAILABLE", "PATCH", "/network", "{\"masquerade\":false}", NULL);
}
END_TEST

START_TEST(test_settings_change)
{
    observe_network();
    ck_assert_int_eq(box_get("/network"), 200);
    box_check_schema("Network");
    ck_assert_str_eq(box_string("wanted_uplink"), "default");
    ck_assert_ptr_eq(strstr(box_header("ETag"), "\"network-0."), box_header("ETag"));
    ck_assert_int_eq(PATCH("{\"masquerade\":true,\"uplink\":\"eth7\",\"subnet\":\"10.1.0.0/16\",\"lease_quarantine_s\":0}"), 202);
    box_check_schema("Network");
    ck_assert_str_eq(box.woken, "network");
    ck_assert_str_eq(box_string("subnet"), "10.1.0.0/16");
    ck_assert_str_eq(box_string("gateway"), "10.1.0.1");
    ck_assert_str_eq(box_string("wanted_uplink"), "eth7");
    ck_assert_int_eq(number("lease_quarantine_s"), 0);
    ck_assert_int_eq(number("generation"), 1);
    ck_assert_int_eq(number("observed_generation"), 0);
    observe_network();
    int woken = box.wake_count;
    ck_assert_int_eq(PATCH("{\"uplink\":\"eth7\"}"), 200); /* as it is */
    ck_assert_int_eq(box.wake_count, woken);
    ck_assert_int_eq(PATCH("{\"uplink\":\"default\"}"), 202);
    ck_assert_str_eq(box_string("wanted_uplink"), "default");
    ck_assert_int_eq(PATCH("{\"subnet\":null,\"lease_quarantine_s\":null,\"masquerade\":null,\"uplink\":null}"), 202);
    ck_assert_str_eq(box_string("subnet"), "172.30.0.0/24");
    ck_assert_int_eq(number("lease_quarantine_s"), 10);
    ck_assert_int_eq(number("generation"), 3);
}
END_TEST

START_TEST(test_changes_wait_for_the_worker)
{
    observe_network();
    ck_assert_int_eq(box_send("PATCH", "/network?wait=5", "{\"lease_quarantine_s\":7}", NULL), 0);
    ck_assert_str_eq(box.reply.key, "network");
    ck_assert(!box_poll(false));
    observe_network();
    ck_assert(box_poll(false));
    ck_assert_int_eq(box.reply.status, 200);
    ck_assert_int_eq(number("observed_generation"), 1);
}
END_TEST

START_TEST(test_lost_updates)
{
    observe_network();
    ck_assert_int_eq(box_send("PATCH", "/network", "{\"lease_quarantine_s\":7}", "If-Match", "\"network-0\"", NULL), 202);
    box_refused(412, "PRECONDITION_FAILED", "PATCH", "/network", "{\"lease_quarantine_s\":8}", "If-Match", "\"network-0\"", NULL);
    ck_assert_int_eq(box_send("PATCH", "/network", "{\"lease_quarantine_s\":8}", "If-Match", "\"network-1\"", NULL), 202);
}
END_TEST

static const struct {
    const char *body, *code, *pointer;
} wrong_settings[] = {
    {"{\"subnet\":\"10.0.0.1/24\"}", "INVALID_SUBNET", "/subnet"},
    {"{\"subnet\":\"10.0.0.0/31\"}", "INVALID_SUBNET", "/subnet"},
    {"{\"subnet\":\"10.0.0.0/0\"}", "INVALID_SUBNET", "/subnet"},
    {"{\"subnet\":\"not-a-network\"}", "INVALID_SUBNET", "/subnet"},
    {"{\"subnet\":\"1.2\"}", "INVALID_CONFIG", "/subnet"},
    {"{\"uplink\":\"all\"}", "INVALID_INTERFACE_NAME", "/uplink"},
    {"{\"uplink\":\"a b\"}", "INVALID_INTERFACE_NAME", "/uplink"},
    {"{\"uplink\":\"svbr0\"}", "INVALID_INTERFACE_NAME", "/uplink"},
    {"{\"uplink\":\"sixteen-letters-\"}", "INVALID_CONFIG", "/uplink"},
    {"{\"uplink\":\"a b\",\"subnet\":\"10.0.0.0/31\"}", "INVALID_CONFIG", "/subnet"},
    {"{\"masquerade\":1}", "INVALID_CONFIG", "/masquerade"},
    {"{\"lease_quarantine_s\":-1}", "INVALID_CONFIG", "/lease_quarantine_s"},
    {"{\"lease_quarantine_s\":86401}", "INVALID_CONFIG", "/lease_quarantine_s"},
    {"{\"bridge\":\"br1\"}", "INVALID_CONFIG", "/bridge"},
};

START_TEST(test_wrong_settings)
{
    observe_network();
    box_refused(400, wrong_settings[_i].code, "PATCH", "/network", wrong_settings[_i].body, NULL);
    ck_assert_str_eq(box_fault(0), wrong_settings[_i].pointer);
    ck_assert_int_eq(box_get("/network"), 200);
    ck_assert_int_eq(number("generation"), 0);
}
END_TEST

START_TEST(test_another_subnet_needs_a_network_without_guests)
{
    observe_network();
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"}]}"), 201);
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"b\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"},{\"iface_id\":\"eth1\"}]}"), 201);
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"c\",\"image\":\"img\"}"), 201);
    ck_assert_int_eq(PATCH("{\"subnet\":\"172.30.0.0/23\",\"masquerade\":true}"), 409);
    ck_assert_str_eq(box_string("code"), "IN_USE");
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "errors")), 2);
    ck_assert_str_eq(json_get_string(json_array_get(json_object_get(box.json, "errors"), 0), "detail"), "VM 'a' has 172.30.0.2");
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "2 VMs run with addresses in 172.30.0.0/24 ('a' and others"));
    ck_assert_int_eq(PATCH("{\"subnet\":\"172.30.0.0/24\",\"masquerade\":true}"), 202); /* what it is already */
    box_remove_vm("a");
    box_observe("b", VM_STOPPED); /* it gets another address with its next start */
    static const char taken[] = "{\"error\":{\"code\":\"IN_USE\",\"message\":\"the subnet 10.9.0.0/29 is that of the smartvmd with pid 7\"}}";
    ck_assert_int_eq(patch_answered("{\"subnet\":\"10.9.0.0/29\"}", taken), 409);
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "pid 7"));
    ck_assert_int_eq(PATCH("{\"subnet\":\"10.9.0.0/29\"}"), 202);
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"d\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"}]}"), 201);
    const json_t *interface = json_array_get(json_object_get(box.json, "network_interfaces"), 0);
    ck_assert_str_eq(json_get_string(interface, "ip"), "10.9.0.2");
    ck_assert_str_eq(json_get_string(interface, "gateway"), "10.9.0.1");
    ck_assert_int_eq(json_get_int(interface, "prefix", 0), 29);
}
END_TEST

START_TEST(test_leases_of_both_states)
{
    observe_network();
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"},{\"iface_id\":\"eth1\"}]}"), 201);
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"b\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"}]}"), 201);
    box_remove_vm("a");
    ck_assert_int_eq(box_get("/network/leases"), 200);
    box_check_schema("LeaseList");
    const json_t *items = json_object_get(box.json, "items");
    ck_assert_uint_eq(json_array_size(items), 3);
    ck_assert_str_eq(json_get_string(json_array_get(items, 0), "state"), "quarantined");
    ck_assert_ptr_nonnull(json_get_string(json_array_get(items, 0), "freed_at"));
    ck_assert_ptr_null(json_get_string(json_array_get(items, 0), "vm"));
    ck_assert_str_eq(json_get_string(json_array_get(items, 2), "state"), "leased");
    ck_assert_str_eq(json_get_string(json_array_get(items, 2), "vm"), "b");
    ck_assert_ptr_null(json_get_string(json_array_get(items, 2), "freed_at"));
    ck_assert_int_eq(box_get("/network/leases?limit=2"), 200);
    ck_assert_str_eq(box_string("next_cursor"), "172.30.0.3");
    ck_assert_int_eq(box_get("/network/leases?limit=2&cursor=172.30.0.3"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 1);
    ck_assert_ptr_null(box_string("next_cursor"));
    box_refused(400, "INVALID_REQUEST", "GET", "/network/leases?cursor=x", NULL, NULL);
    ck_assert_int_eq(PATCH("{\"lease_quarantine_s\":0}"), 202);
    ck_assert_int_eq(box_get("/network/leases"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 1);
}
END_TEST

/* ---- published ports ---- */

#define VM(id, ports) "{\"id\":\"" id "\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"}],\"ports\":" ports "}"

START_TEST(test_ports_are_stored_and_freed)
{
    AUTO_VM_ROW row = {0};
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", VM("a", "[{\"host_port\":8080,\"guest_port\":80},{\"host_port\":8080,\"guest_port\":53,\"protocol\":\"udp\"}]")), 201);
    box_check_schema("Vm");
    const json_t *ports = json_object_get(box.json, "ports");
    ck_assert_uint_eq(json_array_size(ports), 2);
    ck_assert_str_eq(json_get_string(json_array_get(ports, 0), "protocol"), "tcp");
    box_refused(409, "IN_USE", "POST", "/vms", VM("b", "[{\"host_port\":1,\"guest_port\":1},{\"host_port\":8080,\"guest_port\":81}]"), NULL);
    ck_assert_str_eq(box_fault(0), "/ports/1/host_port");
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "tcp port 8080 is published by VM 'a'"));
    ck_assert_int_eq(box_get("/vms/b"), 404);
    ck_assert_int_eq(box_post("/vms", VM("b", "[{\"host_port\":8081,\"guest_port\":65535}]")), 201);
    box_refused(409, "IN_USE", "PATCH", "/vms/b", "{\"ports\":[{\"host_port\":8080,\"guest_port\":1,\"protocol\":\"udp\"}]}", NULL);
    box_load("b", &row);
    ck_assert_uint_eq(row.config.port_count, 1);
    ck_assert_uint_eq(row.config.ports[0].host_port, 8081);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"ports\":[]}", NULL), 202);
    ck_assert_int_eq(box_send("PATCH", "/vms/b", "{\"ports\":[{\"host_port\":8080,\"guest_port\":1,\"protocol\":\"udp\"}]}", NULL), 202);
    ck_assert_str_eq(box.woken, "vm/b");
    box_remove_vm("b");
    ck_assert_int_eq(
        box_send("PATCH", "/vms/a", "{\"ports\":[{\"host_port\":8081,\"guest_port\":1},{\"host_port\":8080,\"guest_port\":2,\"protocol\":\"udp\"}]}", NULL),
        202);
}
END_TEST

START_TEST(test_the_same_ports_again_are_no_change)
{
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", VM("a", "[{\"host_port\":8080,\"guest_port\":80}]")), 201);
    box_observe("a", VM_RUNNING);
    int64_t generation = number("generation");
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"ports\":[{\"host_port\":8080,\"guest_port\":80,\"protocol\":\"tcp\"}]}", NULL), 200);
    ck_assert_int_eq(number("generation"), generation);
}
END_TEST

static int64_t port_member(size_t i, const char *member)
{
    return json_integer_value(json_object_get(json_array_get(json_object_get(box.json, "ports"), i), member));
}

START_TEST(test_places_of_ports)
{
    box_add_image("img");
    ck_assert_int_eq(
        box_post("/vms",
                 VM("a", "[{\"host_port\":80,\"guest_port\":80,\"host_ip\":\"127.0.0.1\"},{\"host_port\":80,\"guest_port\":81,\"host_ip\":\"192.0.2.1\"},"
                         "{\"host_port\":8000,\"guest_port\":9000,\"count\":11}]")),
        201);
    box_check_schema("Vm");
    ck_assert_str_eq(json_get_string(json_array_get(json_object_get(box.json, "ports"), 0), "host_ip"), "127.0.0.1");
    ck_assert_str_eq(json_get_string(json_array_get(json_object_get(box.json, "ports"), 2), "host_ip"), "0.0.0.0");
    ck_assert_int_eq(port_member(2, "count"), 11);
    ck_assert_int_eq(port_member(0, "count"), 1);
    /* Met at the same address, at all of them, and in the middle of a range. */
    box_refused(409, "IN_USE", "POST", "/vms", VM("b", "[{\"host_port\":80,\"guest_port\":1,\"host_ip\":\"192.0.2.1\"}]"), NULL);
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "tcp port 80 at 192.0.2.1 is published by VM 'a'"));
    box_refused(409, "IN_USE", "POST", "/vms", VM("b", "[{\"host_port\":80,\"guest_port\":1}]"), NULL);
    box_refused(409, "IN_USE", "POST", "/vms", VM("b", "[{\"host_port\":7990,\"guest_port\":1,\"count\":11}]"), NULL);
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "tcp port 8000 is published by VM 'a'"));
    box_refused(409, "IN_USE", "POST", "/vms", VM("b", "[{\"host_port\":8010,\"guest_port\":1,\"host_ip\":\"127.0.0.1\"}]"), NULL);
    ck_assert_int_eq(
        box_post("/vms", VM("b", "[{\"host_port\":80,\"guest_port\":1,\"host_ip\":\"192.0.2.2\"},{\"host_port\":7990,\"guest_port\":1,\"count\":10},"
                                 "{\"host_port\":8011,\"guest_port\":1},{\"host_port\":8000,\"guest_port\":1,\"protocol\":\"udp\"}]")),
        201);
}
END_TEST

START_TEST(test_ports_that_the_daemon_chooses)
{
    box_add_image("img");
    ck_assert_int_eq(
        box_post("/vms",
                 VM("a", "[{\"host_port\":0,\"guest_port\":80},{\"host_port\":30000,\"guest_port\":81},{\"host_port\":0,\"guest_port\":82,\"count\":3}]")),
        201);
    ck_assert_int_eq(port_member(0, "host_port"), 30001);
    ck_assert_int_eq(port_member(2, "host_port"), 30002);
    ck_assert_int_eq(box_post("/vms", VM("b", "[{\"host_port\":0,\"guest_port\":80},{\"host_port\":0,\"guest_port\":80,\"protocol\":\"udp\"}]")), 201);
    ck_assert_int_eq(port_member(0, "host_port"), 30005);
    ck_assert_int_eq(port_member(1, "host_port"), 30000);
    box_observe("a", VM_RUNNING);
    int64_t generation = number("generation");
    /* The same again is no change, and another entry more leaves it where it was. */
    ck_assert_int_eq(
        box_send("PATCH", "/vms/a",
                 "{\"ports\":[{\"host_port\":0,\"guest_port\":80},{\"host_port\":30000,\"guest_port\":81},{\"host_port\":0,\"guest_port\":82,\"count\":3}]}",
                 NULL),
        200);
    ck_assert_int_eq(number("generation"), generation);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"ports\":[{\"host_port\":0,\"guest_port\":80},{\"host_port\":0,\"guest_port\":80}]}", NULL), 202);
    ck_assert_int_eq(port_member(0, "host_port"), 30001);
    ck_assert_int_eq(port_member(1, "host_port"), 30000);
    /* The whole range is taken. */
    ck_assert_int_eq(box_post("/vms", VM("c", "[{\"host_port\":0,\"guest_port\":1,\"count\":1000}]")), 201);
    ck_assert_int_eq(box_post("/vms", VM("d", "[{\"host_port\":0,\"guest_port\":1,\"count\":1000}]")), 201);
    box_refused(409, "IN_USE", "POST", "/vms", VM("e", "[{\"host_port\":0,\"guest_port\":1,\"count\":1000}]"), NULL);
    ck_assert_str_eq(box_fault(0), "/ports/0/host_port");
}
END_TEST

static const struct {
    const char *body, *pointer;
} wrong_ports[] = {
    {VM("a", "[{\"host_port\":-1,\"guest_port\":80}]"), "/ports/0/host_port"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":1,\"count\":0}]"), "/ports/0/count"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":1,\"count\":1001}]"), "/ports/0/count"},
    {VM("a", "[{\"host_port\":65000,\"guest_port\":1,\"count\":537}]"), "/ports/0/host_port"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":65535,\"count\":2}]"), "/ports/0/guest_port"},
    {VM("a", "[{\"host_port\":0,\"guest_port\":65535,\"count\":2}]"), "/ports/0/guest_port"},
    {VM("a", "[{\"host_port\":8000,\"guest_port\":1,\"count\":11},{\"host_port\":8010,\"guest_port\":1}]"), "/ports/1/host_port"},
    {VM("a", "[{\"host_port\":8000,\"guest_port\":1},{\"host_port\":8000,\"guest_port\":1,\"host_ip\":\"127.0.0.1\"}]"), "/ports/1/host_port"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":1,\"host_ip\":\"localhost\"}]"), "/ports/0/host_ip"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":1,\"host_ip\":\"127.1\"}]"), "/ports/0/host_ip"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":1,\"host_ip\":\"224.0.0.1\"}]"), "/ports/0/host_ip"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":1,\"host_ip\":\"::\"}]"), "/ports/0/host_ip"}, /* guests have no IPv6 */
    {VM("a", "[{\"host_port\":1,\"guest_port\":1,\"count\":501},{\"host_port\":1001,\"guest_port\":1,\"count\":500}]"), "/ports"},
    {VM("a", "[{\"host_port\":65536,\"guest_port\":80}]"), "/ports/0/host_port"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":0}]"), "/ports/0/guest_port"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":65536}]"), "/ports/0/guest_port"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":1,\"protocol\":\"icmp\"}]"), "/ports/0/protocol"},
    {VM("a", "[{\"host_port\":1}]"), "/ports/0/guest_port"},
    {VM("a", "[{\"guest_port\":1}]"), "/ports/0/host_port"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":1,\"address\":\"10.0.0.1\"}]"), "/ports/0/address"},
    {VM("a", "[{\"host_port\":1,\"guest_port\":1},{\"host_port\":1,\"guest_port\":2}]"), "/ports/1/host_port"},
    {"{\"id\":\"a\",\"image\":\"img\",\"ports\":[{\"host_port\":1,\"guest_port\":1}]}", "/ports"},
};

START_TEST(test_wrong_ports)
{
    box_add_image("img");
    box_refused(400, "INVALID_CONFIG", "POST", "/vms", wrong_ports[_i].body, NULL);
    ck_assert_str_eq(box_fault(0), wrong_ports[_i].pointer);
    ck_assert_int_eq(box_get("/vms/a"), 404);
}
END_TEST

START_TEST(test_the_range_that_may_be_published)
{
    box_add_image("img");
    box.config.network.published.first = 1024;
    box.config.network.published.last = 40000;
    static const char *const outside[] = {VM("a", "[{\"host_port\":8080,\"guest_port\":1},{\"host_port\":1023,\"guest_port\":1}]"),
                                          VM("a", "[{\"host_port\":8080,\"guest_port\":1},{\"host_port\":39999,\"guest_port\":1,\"count\":3}]"),
                                          VM("a", "[{\"host_port\":8080,\"guest_port\":1},{\"host_port\":65535,\"guest_port\":1}]")};
    for (size_t i = 0; i < ARRAY_LEN(outside); i++) {
        box_refused(400, "INVALID_CONFIG", "POST", "/vms", outside[i], NULL);
        ck_assert_str_eq(box_fault(0), "/ports/1/host_port");
        ck_assert_ptr_nonnull(strstr(box_string("detail"), "ports from 1024 to 40000 may be published"));
    }
    ck_assert_int_eq(
        box_post("/vms",
                 VM("a", "[{\"host_port\":1024,\"guest_port\":1},{\"host_port\":39991,\"guest_port\":1,\"count\":10},{\"host_port\":0,\"guest_port\":1}]")),
        201);
    /* What is published from before stays, until the list is given anew. */
    box.config.network.published.first = 2000;
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"labels\":{\"a\":\"b\"}}", NULL), 202);
    box_refused(400, "INVALID_CONFIG", "PATCH", "/vms/a", "{\"ports\":[{\"host_port\":1024,\"guest_port\":1}]}", NULL);
}
END_TEST

START_TEST(test_the_address_that_ports_are_published_at)
{
    box_add_image("img");
    ck_assert(ip_addr_parse("192.0.2.7", &box.config.network.published.address));
    box_refused(400, "INVALID_CONFIG", "POST", "/vms", VM("a", "[{\"host_port\":80,\"guest_port\":1,\"host_ip\":\"0.0.0.0\"}]"), NULL);
    ck_assert_str_eq(box_fault(0), "/ports/0/host_ip");
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "ports are published at 192.0.2.7 only"));
    ck_assert_int_eq(box_post("/vms", VM("a", "[{\"host_port\":80,\"guest_port\":1},{\"host_port\":81,\"guest_port\":1,\"host_ip\":\"192.0.2.7\"}]")), 201);
    for (size_t i = 0; i < 2; i++) {
        ck_assert_str_eq(json_get_string(json_array_get(json_object_get(box.json, "ports"), i), "host_ip"), "192.0.2.7");
    }
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"ports\":[{\"host_port\":82,\"guest_port\":1}]}", NULL), 202);
    ck_assert_str_eq(json_get_string(json_array_get(json_object_get(box.json, "ports"), 0), "host_ip"), "192.0.2.7");
}
END_TEST

START_TEST(test_ports_that_somebody_listens_on)
{
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", VM("old", "[{\"host_port\":22,\"guest_port\":1}]")), 201);
    box.listeners =
        "{\"answer\":{\"listeners\":[{\"index\":1,\"port\":22,\"message\":\"sshd (pid 7) listens on the host's tcp port 22 at 0.0.0.0\"}],\"busy\":[]}}";
    const char *body = VM("a", "[{\"host_port\":21,\"guest_port\":1},{\"host_port\":22,\"guest_port\":1}]");
    for (int dry = 0; dry < 2; dry++) {
        box_refused(409, "IN_USE", "POST", dry ? "/vms?dry_run=true" : "/vms", body, NULL);
        ck_assert_str_eq(box_string("detail"), "sshd (pid 7) listens on the host's tcp port 22 at 0.0.0.0");
        ck_assert_str_eq(box_fault(0), "/ports/1/host_port");
        ck_assert_int_eq(box_get("/vms/a"), 404);
    }
    /* What a VM has already it keeps, and may say again. */
    ck_assert_int_eq(box_send("PATCH", "/vms/old", "{\"ports\":[{\"host_port\":21,\"guest_port\":1},{\"host_port\":22,\"guest_port\":2}]}", NULL), 202);
    /* Those that are chosen are none of theirs. */
    box.listeners = "{\"answer\":{\"listeners\":[],\"busy\":[{\"protocol\":\"tcp\",\"port\":30000},{\"protocol\":\"udp\",\"port\":30001},{\"protocol\":\"tcp\","
                    "\"port\":30003}]}}";
    ck_assert_int_eq(
        box_post("/vms", VM("b", "[{\"host_port\":0,\"guest_port\":1},{\"host_port\":0,\"guest_port\":1},{\"host_port\":0,\"guest_port\":1,\"count\":2},"
                                 "{\"host_port\":0,\"guest_port\":1,\"count\":2,\"protocol\":\"udp\"}]")),
        201);
    ck_assert(port_member(0, "host_port") == 30001 && port_member(1, "host_port") == 30002 && port_member(2, "host_port") == 30004 &&
              port_member(3, "host_port") == 30002);
    /* Without an answer nothing is published. */
    box.listeners = "{\"error\":{\"code\":\"SYSTEM\",\"message\":\"why\"}}";
    box_refused(500, "SYSTEM", "POST", "/vms", VM("c", "[{\"host_port\":23,\"guest_port\":1}]"), NULL);
    ck_assert_int_eq(box_post("/vms", VM("c", "[]")), 201);
}
END_TEST

START_TEST(test_as_many_ports_as_there_may_be)
{
    AUTO_STRBUF ports = STRBUF_INIT;
    box_add_image("img");
    strbuf_add(&ports, "{\"id\":\"a\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"}],\"ports\":[");
    for (int i = 0; i < LIMIT_PORTS; i++) {
        strbuf_addf(&ports, "%s{\"host_port\":%d,\"guest_port\":80}", i > 0 ? "," : "", 1000 + i);
    }
    AUTO_STRBUF more = STRBUF_INIT;
    strbuf_addf(&more, "%s,{\"host_port\":1,\"guest_port\":80}]}", ports.data);
    strbuf_add(&ports, "]}");
    box_refused(400, "INVALID_CONFIG", "POST", "/vms", more.data, NULL);
    ck_assert_int_eq(box_post("/vms", ports.data), 201);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "ports")), LIMIT_PORTS);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("api_network");
    TCase *tcase = tcase_create("network");
    tcase_add_checked_fixture(tcase, box_open, box_close);
    tcase_set_timeout(tcase, 120);
    tcase_add_test(tcase, test_before_the_first_look);
    tcase_add_test(tcase, test_settings_change);
    tcase_add_test(tcase, test_changes_wait_for_the_worker);
    tcase_add_test(tcase, test_lost_updates);
    tcase_add_loop_test(tcase, test_wrong_settings, 0, (int)ARRAY_LEN(wrong_settings));
    tcase_add_test(tcase, test_another_subnet_needs_a_network_without_guests);
    tcase_add_test(tcase, test_leases_of_both_states);
    tcase_add_test(tcase, test_ports_are_stored_and_freed);
    tcase_add_test(tcase, test_the_same_ports_again_are_no_change);
    tcase_add_test(tcase, test_places_of_ports);
    tcase_add_test(tcase, test_ports_that_the_daemon_chooses);
    tcase_add_loop_test(tcase, test_wrong_ports, 0, (int)ARRAY_LEN(wrong_ports));
    tcase_add_test(tcase, test_the_range_that_may_be_published);
    tcase_add_test(tcase, test_the_address_that_ports_are_published_at);
    tcase_add_test(tcase, test_ports_that_somebody_listens_on);
    tcase_add_test(tcase, test_as_many_ports_as_there_may_be);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
