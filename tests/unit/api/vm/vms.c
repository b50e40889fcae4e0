/* VMs over the API: create and what it refuses, get, list, patch. */
#include "tests/unit/api/api_box.h"

#include <sqlite3.h>

#include "api/vm/network.h"
#include "core/limits.h"
#include "core/strbuf.h"
#include "db/events.h"
#include "db/reservations.h"

#define TWO_NICS "\"network_interfaces\":[{\"iface_id\":\"eth0\"},{\"iface_id\":\"eth1\"}]"

static const char *nic(size_t index, const char *member)
{
    return json_get_string(json_array_get(json_object_get(box.json, "network_interfaces"), index), member);
}

START_TEST(test_create)
{
    struct event_row *events = NULL;
    size_t count = 0;
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\"," TWO_NICS ",\"labels\":{\"k\":\"\\u00e4\\\"\"}}"), 201);
    box_check_schema("Vm");
    ck_assert_str_eq(box_header("Location"), "/vms/a");
    ck_assert_ptr_eq(strstr(box_header("ETag"), "\"1-1."), box_header("ETag"));
    ck_assert_str_eq(box_header("Content-Type"), "application/json");
    ck_assert_str_eq(box_string("state"), "creating");
    ck_assert_str_eq(box_string("desired_state"), "running");
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "labels"), "k"), "\xc3\xa4\"");
    ck_assert_int_eq(json_get_int(json_object_get(box.json, "machine_config"), "vcpu_count", 0), 1);
    ck_assert_int_eq(json_get_int(json_object_get(box.json, "machine_config"), "mem_size_mib", 0), 128);
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "vmm"), "requested"), "auto");
    ck_assert_str_eq(nic(0, "ip"), "172.30.0.2");
    ck_assert_str_eq(nic(0, "tap"), "svbr0t2");
    ck_assert_str_eq(nic(0, "gateway"), "172.30.0.1");
    ck_assert_str_eq(nic(1, "ip"), "172.30.0.3");
    ck_assert_str_eq(nic(1, "tap"), "svbr0t3");
    ck_assert_int_eq(memcmp(nic(0, "mac"), "02:", 3), 0);
    ck_assert_str_ne(nic(0, "mac"), nic(1, "mac"));
    ck_assert_str_eq(box.woken, "vm/a");
    must(events_list(box.db, 0, 10, &events, &count, &box_error));
    ck_assert_uint_eq(count, 1);
    ck_assert_str_eq(events[0].type, "vm.created");
    ck_assert_str_eq(events[0].resource, "/vms/a");
    events_list_free(events, count);
    ck_assert_int_eq(box_get("/vms/a"), 200);
    box_check_schema("Vm");
    ck_assert_ptr_eq(strstr(box_header("ETag"), "\"1-1."), box_header("ETag"));
}
END_TEST

START_TEST(test_a_policy_wakes_the_firewall)
{
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"firewall\":{\"egress\":{\"default_action\":\"deny\"}}}"), 201);
    ck_assert_int_eq(box.wake_count, 2);
    ck_assert_str_eq(box.woken, "firewall");
}
END_TEST

START_TEST(test_an_id_is_made)
{
    char first[64];
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", "{\"image\":\"img\"}"), 201);
    box_check_schema("Vm");
    (void)snprintf(first, sizeof first, "%s", box_string("id"));
    ck_assert_uint_eq(strlen(first), 13);
    ck_assert_int_eq(memcmp(first, "vm-", 3), 0);
    ck_assert_int_eq(box_post("/vms", "{\"image\":\"img\"}"), 201);
    ck_assert_str_ne(box_string("id"), first);
}
END_TEST

START_TEST(test_create_refuses)
{
    box_add_image("img");
    box_refused(409, "IMAGE_NOT_FOUND", "POST", "/vms", "{\"image\":\"none\"}", NULL);
    box_refused(400, "INVALID_CONFIG", "POST", "/vms", "{\"image\":\"img\",\"machine_config\":{\"vcpu_count\":3}}", NULL);
    ck_assert_str_eq(box_fault(0), "/machine_config/vcpu_count");
    box_refused(400, "INVALID_CONFIG", "POST", "/vms", "{\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"e\"},{\"iface_id\":\"e\"}]}", NULL);
    ck_assert_str_eq(box_fault(0), "/network_interfaces/1/iface_id");
    static const char *const ids[] = {"..", "-a", "A", "a/b", "a_b", ""};
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        char body[64];
        (void)snprintf(body, sizeof body, "{\"image\":\"img\",\"id\":\"%s\"}", ids[i]);
        box_refused(400, "INVALID_CONFIG", "POST", "/vms", body, NULL);
        ck_assert_str_eq(box_fault(0), "/id");
    }
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\"}"), 201);
    box_refused(409, "ALREADY_EXISTS", "POST", "/vms", "{\"id\":\"a\",\"image\":\"img\"}", NULL);
    ck_assert_int_eq(box_get("/vms"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 1);
}
END_TEST

START_TEST(test_create_with_an_image_that_is_not_ready)
{
    static char id[] = "half";
    static char manifest[] = "{}";
    struct image_row row = {.id = id, .manifest = manifest};
    must(images_insert(box.worker, &row, &box_error));
    box_refused(409, "IMAGE_NOT_READY", "POST", "/vms", "{\"image\":\"half\"}", NULL);
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "importing"));
}
END_TEST

START_TEST(test_memory_of_the_host)
{
    box_add_image("img");
    box.config.capacity.memory_mib = 1 << 20;
    must(facts_set(box.worker, "host", "{\"memory_mib\":1024}", NULL, &box_error));
    box_refused(409, "INSUFFICIENT_MEMORY", "POST", "/vms", "{\"image\":\"img\",\"machine_config\":{\"mem_size_mib\":1025}}", NULL);
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"desired_state\":\"stopped\","
                                      "\"machine_config\":{\"mem_size_mib\":1024}}"),
                     201);
    box_observe("a", VM_STOPPED);
    box_refused(409, "INSUFFICIENT_MEMORY", "PATCH", "/vms/a", "{\"machine_config\":{\"mem_size_mib\":1025}}", NULL);
}
END_TEST

static const char *body_of(const char *id, unsigned mib)
{
    static char body[256];
    (void)snprintf(body, sizeof body,
                   "{\"id\":\"%s\",\"image\":\"img\",\"vmm\":\"firecracker\",\"desired_state\":\"stopped\",\"machine_config\":{\"mem_size_mib\":%u}}", id, mib);
    return body;
}

/* 64 MiB for the VMM of each. */
START_TEST(test_memory_of_all_vms)
{
    box.config.capacity.memory_mib = 400;
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", body_of("a", 32)), 201);
    box_refused(409, "INSUFFICIENT_CAPACITY", "POST", "/vms?dry_run=true", body_of("b", 241), NULL);
    box_refused(409, "INSUFFICIENT_CAPACITY", "POST", "/vms", body_of("b", 241), NULL);
    ck_assert_str_eq(box_string("detail"), "the host has not enough left: 308 MiB of memory asked for, 96 of 400 reserved, 304 free");
    ck_assert_str_eq(box_fault(0), "/machine_config/mem_size_mib");
    ck_assert_int_eq(box_get("/vms/b"), 404);
    ck_assert_int_eq(box_post("/vms", body_of("b", 236)), 201); /* and 3 for the kernel's tables */
    box_refused(409, "INSUFFICIENT_CAPACITY", "POST", "/vms", body_of("c", 1), NULL);

    /* Larger, smaller, and the same: what is asked for is what comes to it. */
    box_refused(409, "INSUFFICIENT_CAPACITY", "PATCH", "/vms/a", "{\"machine_config\":{\"mem_size_mib\":34}}", NULL);
    box_refused(409, "INSUFFICIENT_CAPACITY", "PATCH", "/vms/a?dry_run=true", "{\"machine_config\":{\"mem_size_mib\":34}}", NULL);
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "2 MiB of memory asked for, 399 of 400 reserved, 1 free"));
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"machine_config\":{\"mem_size_mib\":33}}", NULL), 202);
    ck_assert_int_eq(box_send("PATCH", "/vms/b", "{\"labels\":{\"a\":\"b\"}}", NULL), 202);
    ck_assert_int_eq(box_send("PATCH", "/vms/b", "{\"machine_config\":{\"mem_size_mib\":100}}", NULL), 202);
    box_refused(409, "INSUFFICIENT_CAPACITY", "POST", "/vms", body_of("c", 1), NULL); /* as far as anybody knows, it may have begun to run */
    box_observe("b", VM_STOPPED);
    ck_assert_int_eq(box_post("/vms", body_of("c", 10)), 201);

    /* The total was made smaller: what is there stays, and may become smaller. */
    box.config.capacity.memory_mib = 100;
    ck_assert_int_eq(box_send("PATCH", "/vms/b", "{\"machine_config\":{\"mem_size_mib\":90}}", NULL), 200);
    box_refused(409, "INSUFFICIENT_CAPACITY", "PATCH", "/vms/b", "{\"machine_config\":{\"mem_size_mib\":101}}", NULL);
}
END_TEST

static struct reservation reserved(void)
{
    struct reservation sum;
    must(reservations_sum(box.db, &sum, &box_error));
    return sum;
}

/* A VM that runs and is made smaller has what it was started with until it runs with less. */
START_TEST(test_a_process_keeps_what_it_has)
{
    box_add_image("img");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"vmm\":\"firecracker\",\"machine_config\":{\"mem_size_mib\":640,\"vcpu_count\":4}}"),
                     201);
    box_observe("a", VM_RUNNING);
    ck_assert(reserved().memory_mib == 640 + 10 + 64 && reserved().vcpus == 4);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"machine_config\":{\"mem_size_mib\":64,\"vcpu_count\":1}}", NULL), 200);
    box_observe("a", VM_RUNNING);
    ck_assert(reserved().memory_mib == 640 + 10 + 64 && reserved().vcpus == 4);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"machine_config\":{\"mem_size_mib\":128},\"labels\":{\"k\":\"v\"}}", NULL), 200);
    box_observe("a", VM_RUNNING);
    ck_assert_int_eq(reserved().memory_mib, 640 + 10 + 64);
    ck_assert_int_eq(box_send("POST", "/vms/a/stop", NULL, NULL), 202);
    box_observe("a", VM_STOPPED);
    ck_assert(reserved().memory_mib == 128 + 2 + 64 && reserved().vcpus == 1);
    box_remove_vm("a");
    ck_assert(reserved().memory_mib == 0 && reserved().vcpus == 0 && reserved().interfaces == 0 && reserved().drive_mib == 0);
}
END_TEST

START_TEST(test_vcpus_and_drives_of_all_vms)
{
    static char sized[] = "{\"rootfs\":{\"size_bytes\":10485761}}"; /* 11 MiB, begun */
    static char id[] = "img";
    char sha[] = "0000000000000000000000000000000000000000000000000000000000000000";
    const struct image_row row = {.id = id, .state = IMAGE_READY, .observed = sized, .kernel_sha256 = sha, .rootfs_sha256 = sha};
    box_add_image("img");
    must(images_set_observed(box.worker, &row, &box_error));
    must(facts_set(box.worker, "host", "{\"memory_mib\":4096,\"cpus\":2,\"staging\":{\"path\":\"/s\",\"in_memory\":false,\"size_mib\":30}}", NULL, &box_error));
    box.config.capacity.vcpu_factor = 1.5;
    const char *two = "{\"id\":\"a\",\"image\":\"img\",\"vmm\":\"firecracker\",\"machine_config\":{\"vcpu_count\":2}}";
    ck_assert_int_eq(box_post("/vms", two), 201);
    ck_assert(reserved().drive_mib == 11 && reserved().memory_mib == 128 + 2 + 64);
    box_refused(409, "INSUFFICIENT_CAPACITY", "POST", "/vms", "{\"id\":\"b\",\"image\":\"img\",\"machine_config\":{\"vcpu_count\":2}}", NULL);
    ck_assert_str_eq(box_string("detail"), "the host has not enough left: 2 vCPUs asked for, 2 of 3 reserved, 1 free");
    ck_assert_str_eq(box_fault(0), "/machine_config/vcpu_count");
    ck_assert_int_eq(box_post("/vms", body_of("b", 32)), 201);
    box_refused(409, "INSUFFICIENT_CAPACITY", "POST", "/vms", body_of("c", 32), NULL); /* both at once */
    ck_assert_ptr_nonnull(
        strstr(box_string("detail"), "11 MiB for writable drives asked for, 22 of 30 reserved, 8 free; 1 vCPUs asked for, 3 of 3 reserved, 0 free"));
    ck_assert_str_eq(box_fault(0), "/image");
    ck_assert_str_eq(box_fault(1), "/machine_config/vcpu_count");
}
END_TEST

START_TEST(test_ports_of_the_bridge)
{
    box_add_image("img");
    box_set_subnet("10.0.0.0/16");
    box_change("UPDATE reserved SET interfaces = 1022");
    box_refused(409, "INSUFFICIENT_CAPACITY", "POST", "/vms", "{\"id\":\"a\",\"image\":\"img\"," TWO_NICS "}", NULL);
    ck_assert_str_eq(box_string("detail"), "the host has not enough left: 2 ports of the bridge asked for, 1022 of 1023 reserved, 1 free");
    ck_assert_str_eq(box_fault(0), "/network_interfaces");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"}]}"), 201);
    ck_assert_int_eq(reserved().interfaces, 1023);
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"b\",\"image\":\"img\"}"), 201);
}
END_TEST

START_TEST(test_addresses_run_out)
{
    box_add_image("img");
    box_set_subnet("10.0.0.0/30");
    box_refused(409, "IP_EXHAUSTED", "POST", "/vms", "{\"id\":\"a\",\"image\":\"img\"," TWO_NICS "}", NULL);
    const char *one = "{\"id\":\"a\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"}]}";
    ck_assert_int_eq(box_post("/vms", one), 201);
    ck_assert_str_eq(nic(0, "ip"), "10.0.0.2");
    char mac[MAC_TEXT_MAX];
    (void)snprintf(mac, sizeof mac, "%s", nic(0, "mac"));
    box_refused(409, "IP_EXHAUSTED", "POST", "/vms", "{\"id\":\"b\",\"image\":\"img\",\"network_interfaces\":[{\"iface_id\":\"eth0\"}]}", NULL);
    box_remove_vm("a");
    box_refused(409, "IP_EXHAUSTED", "POST", "/vms", one, NULL); /* in quarantine */
    box.config.network.lease_quarantine_s = 0;
    ck_assert_int_eq(box_post("/vms", one), 201);
    ck_assert_str_eq(nic(0, "mac"), mac); /* the same VM again looks the same */
}
END_TEST

START_TEST(test_many_interfaces_in_a_used_subnet)
{
    /* 13 addresses: four VMs of three, so that the last ones come from what was freed in between. */
    const char *three = "\"network_interfaces\":[{\"iface_id\":\"a\"},{\"iface_id\":\"b\"},{\"iface_id\":\"c\"}]";
    char body[256];
    box_add_image("img");
    box_set_subnet("10.0.0.0/28");
    box.config.network.lease_quarantine_s = 0;
    for (int i = 0; i < 4; i++) {
        (void)snprintf(body, sizeof body, "{\"id\":\"v%d\",\"image\":\"img\",%s}", i, three);
        ck_assert_int_eq(box_post("/vms", body), 201);
    }
    box_remove_vm("v1");
    for (int i = 4; i < 20; i++) { /* each time three of the four that are free */
        (void)snprintf(body, sizeof body, "{\"id\":\"v%d\",\"image\":\"img\",%s}", i, three);
        ck_assert_int_eq(box_post("/vms", body), 201);
        box_check_schema("Vm");
        (void)snprintf(body, sizeof body, "v%d", i);
        box_remove_vm(body);
    }
}
END_TEST

START_TEST(test_another_subnet_while_vms_exist)
{
    /* At every try: 503 DATABASE "UNIQUE constraint failed: interfaces.tap". */
    box_add_image("img");
    box_set_subnet("10.0.0.0/24");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"a\",\"image\":\"img\"," TWO_NICS "}"), 201);
    ck_assert_str_eq(nic(0, "tap"), "svbr0t2");
    box_set_subnet("10.1.0.0/24");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"b\",\"image\":\"img\"," TWO_NICS "}"), 201);
    ck_assert_str_eq(nic(0, "ip"), "10.1.0.2");
    ck_assert_str_eq(nic(0, "tap"), "svbr0t4");
    ck_assert_str_eq(nic(1, "tap"), "svbr0t5");
    ck_assert_str_ne(nic(0, "tap"), nic(1, "tap"));
    box_set_subnet("10.0.0.0/8");
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"c\",\"image\":\"img\"," TWO_NICS "}"), 201);
}
END_TEST

START_TEST(test_guests_of_subnets)
{
    uint32_t first = 0;
    uint32_t last = 0;
    network_guest_range((struct ipv4_net){0x0a000000, 30}, &first, &last);
    ck_assert_uint_eq(first, 0x0a000002);
    ck_assert_uint_eq(last, 0x0a000002);
    network_guest_range((struct ipv4_net){0x80000000, 1}, &first, &last);
    ck_assert_uint_eq(first, 0x80000002);
    ck_assert_uint_eq(last, 0xfffffffe);
}
END_TEST

START_TEST(test_observed_is_shown)
{
    AUTO_VM_ROW row = {0};
    bool changed = false;
    box_add_vm("a", VM_RUNNING);
    box_load("a", &row);
    struct vm_observation seen = {.state = VM_RUNNING,
                                  .observed_generation = 1,
                                  .boot_id = "b",
                                  .boot_done = 1,
                                  .boot_config = "",
                                  .pid = 4711,
                                  .observed = "{\"vmm\":{\"requested\":\"auto\",\"driver\":\"qemu\",\"version\":\"7.2\",\"accelerator\":"
                                              "\"tcg\",\"pid\":4711,"
                                              "\"reason\":\"why\",\"limits\":null,\"jailed\":null,\"uid\":null},\"conditions\":[],\"timings\":[],\"drives\":[],"
                                              "\"last_exit\":{\"tier\":\"guest\",\"reason\":\"guest_shutdown\",\"exit_code\":0,\"signal\":null,\"message\":"
                                              "\"m\",\"at\":\"2026-01-01T00:00:00.000Z\"},\"error\":null}"};
    must(vms_set_observed(box.worker, row.uid, &seen, &changed, &box_error));
    ck_assert_int_eq(box_get("/vms/a"), 200);
    box_check_schema("Vm");
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "vmm"), "driver"), "qemu");
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "last_exit"), "tier"), "guest");
}
END_TEST

START_TEST(test_patch)
{
    AUTO_VM_ROW row = {0};
    box_add_vm("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"labels\":{\"a\":\"1\",\"b\":\"2\"}}", NULL), 200);
    box_observe("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"labels\":{\"a\":null,\"c\":\"3\",\"none\":null}}", NULL), 200);
    box_check_schema("Vm");
    box_observe("a", VM_STOPPED);
    AUTO_FREE char *labels = json_text(json_object_get(box.json, "labels"));
    ck_assert_str_eq(labels, "{\"b\":\"2\",\"c\":\"3\"}");
    ck_assert_int_eq(box_send("PATCH", "/vms/a",
                              "{\"machine_config\":{\"vcpu_count\":4},\"boot_args\":\"x=1\",\"vmm\":\"qemu\","
                              "\"autostart\":true}",
                              NULL),
                     200);
    box_load("a", &row);
    ck_assert_uint_eq(row.config.machine.vcpu_count, 4);
    ck_assert_uint_eq(row.config.machine.mem_size_mib, 128); /* what is not named stays */
    ck_assert_str_eq(row.config.boot_args, "x=1");
    ck_assert_int_eq(row.config.vmm, VM_VMM_QEMU);
    ck_assert(row.config.autostart);
    ck_assert_int_eq(row.boot_wanted, 1);
    int64_t generation = row.generation;
    box_observe("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"autostart\":true}", NULL), 200);
    vm_row_free(&row);
    box_load("a", &row);
    ck_assert_int_eq(row.generation, generation);
    box_refused(400, "INVALID_CONFIG", "PATCH", "/vms/a", "{\"machine_config\":{\"vcpu_count\":5}}", NULL);
    box_refused(400, "INVALID_CONFIG", "PATCH", "/vms/a", "{\"image\":\"other\"}", NULL);
}
END_TEST

START_TEST(test_patch_of_the_desired_state)
{
    AUTO_VM_ROW row = {0};
    box_add_vm("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"machine_config\":{\"mem_size_mib\":64},\"desired_state\":\"paused\"}", NULL), 202);
    box_load("a", &row);
    ck_assert_int_eq(row.boot_wanted, 2);
    ck_assert_int_eq(row.desired, VM_WANT_PAUSED);
    box_observe("a", VM_PAUSED);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"desired_state\":\"running\"}", NULL), 202);
    box_observe("a", VM_RUNNING);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"desired_state\":\"running\"}", NULL), 200);
    vm_row_free(&row);
    box_load("a", &row);
    ck_assert_int_eq(row.boot_wanted, 2);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"desired_state\":\"stopped\"}", NULL), 202);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"labels\":{\"x\":\"y\"}}", NULL), 202); /* the stop is not done */
}
END_TEST

static void check_pending(const char *wanted)
{
    AUTO_FREE char *pending = json_text(json_object_get(box.json, "pending_reboot"));
    ck_assert_str_eq(pending, wanted);
}

START_TEST(test_what_waits_for_the_next_boot)
{
    box_add_vm("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"boot_args\":\"x\"}", NULL), 200);
    check_pending("[]"); /* nothing runs */
    ck_assert_int_eq(box_post("/vms/a/start", NULL), 202);
    box_observe("a", VM_RUNNING);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"labels\":{\"a\":\"b\"},\"autostart\":true,\"restart_policy\":\"always\"}", NULL), 200);
    check_pending("[]");
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"machine_config\":{\"vcpu_count\":2},\"boot_args\":\"y\",\"vmm\":\"qemu\"}", NULL), 202);
    box_check_schema("Vm");
    check_pending("[\"machine_config\",\"boot_args\",\"vmm\"]");
    box_observe("a", VM_RUNNING);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"boot_args\":\"x\",\"vmm\":null}", NULL), 200);
    check_pending("[\"machine_config\"]");
    box_observe("a", VM_STOPPED);
    ck_assert_int_eq(box_get("/vms/a"), 200);
    check_pending("[]");
}
END_TEST

/* By hand, past every check of ours. */
static void damage(const char *config)
{
    sqlite3 *sqlite = NULL;
    char path[128];
    AUTO_FREE char *sql = NULL;
    (void)snprintf(path, sizeof path, "%s/db", box.dir);
    ck_assert_int_gt(asprintf(&sql, "UPDATE vms SET config = '%s' WHERE id = 'a'", config), 0);
    ck_assert_int_eq(sqlite3_open(path, &sqlite), SQLITE_OK);
    (void)sqlite3_busy_timeout(sqlite, 5000);
    ck_assert_int_eq(sqlite3_exec(sqlite, sql, NULL, NULL, NULL), SQLITE_OK);
    (void)sqlite3_close(sqlite);
}

START_TEST(test_a_damaged_document)
{
    AUTO_VM_ROW row = {0};
    box_add_vm("a", VM_STOPPED);
    box_add_vm("b", VM_STOPPED);
    damage("[");
    ck_assert_int_eq(box_get("/vms/a"), 200);
    box_check_schema("Vm");
    ck_assert_str_eq(box_string("image"), "img");
    ck_assert_int_eq(box_get("/vms"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 2);
    box_refused(500, "ROW_DAMAGED", "PATCH", "/vms/a", "{\"autostart\":true}", NULL);
    ck_assert_int_eq(box_post("/vms/a/start", NULL), 202); /* which the worker finds out about */
    box_load("a", &row);
    ck_assert_str_eq(row.config_text, "[");
    ck_assert_int_eq(box_send("DELETE", "/vms/a", NULL, NULL), 202);
}
END_TEST

START_TEST(test_labels_are_bounded_after_a_merge)
{
    AUTO_STRBUF body = STRBUF_INIT;
    box_add_vm("a", VM_STOPPED);
    strbuf_add(&body, "{\"labels\":{\"x\":\"1\"");
    for (int i = 1; i < LIMIT_LABELS; i++) {
        strbuf_addf(&body, ",\"l%d\":\"\"", i);
    }
    strbuf_add(&body, "}}");
    ck_assert_int_eq(box_send("PATCH", "/vms/a", body.data, NULL), 200);
    box_observe("a", VM_STOPPED);
    box_refused(400, "INVALID_CONFIG", "PATCH", "/vms/a", "{\"labels\":{\"one-more\":\"\"}}", NULL);
    ck_assert_int_eq(box_send("PATCH", "/vms/a", "{\"labels\":{\"one-more\":\"\",\"x\":null}}", NULL), 200);
}
END_TEST

START_TEST(test_a_limit_of_vms)
{
    /* The row count is all that matters; 10,000 of them in one transaction of the worker's connection. */
    static char id[16];
    static char empty[] = "";
    static char image[] = "img";
    box_add_image("img");
    must(db_begin(box.worker, &box_error));
    for (int i = 0; i < LIMIT_VMS - 1; i++) {
        (void)snprintf(id, sizeof id, "v%d", i);
        struct vm_row row = {.id = id, .config = {.image = image, .boot_args = empty, .machine = {1, 64}, .limits = {.cpu_weight = VM_CPU_WEIGHT_DEFAULT}}};
        must(vms_insert(box.worker, &row, &box_error));
        free(row.config_text);
    }
    must(db_commit(box.worker, &box_error));
    ck_assert_int_eq(box_post("/vms", "{\"id\":\"last\",\"image\":\"img\"}"), 201);
    box_refused(429, "TOO_MANY_REQUESTS", "POST", "/vms", "{\"id\":\"more\",\"image\":\"img\"}", NULL);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_create,
        test_a_policy_wakes_the_firewall,
        test_an_id_is_made,
        test_create_refuses,
        test_create_with_an_image_that_is_not_ready,
        test_memory_of_the_host,
        test_memory_of_all_vms,
        test_a_process_keeps_what_it_has,
        test_vcpus_and_drives_of_all_vms,
        test_ports_of_the_bridge,
        test_addresses_run_out,
        test_many_interfaces_in_a_used_subnet,
        test_another_subnet_while_vms_exist,
        test_guests_of_subnets,
        test_observed_is_shown,
        test_patch,
        test_patch_of_the_desired_state,
        test_what_waits_for_the_next_boot,
        test_a_damaged_document,
        test_labels_are_bounded_after_a_merge,
        test_a_limit_of_vms,
    };
    return box_run("api vms", tests, ARRAY_LEN(tests));
}
