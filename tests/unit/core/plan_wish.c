/* What the API process wishes a plan for is read like stored rows: whole or not at all, and nothing of it is believed. */
#include "core/plan_wish.h"

#include "core/cleanup.h"

#include <check.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

static struct error err;
static struct vm_row vm;
static struct vm_interface interface;
static struct image_row image;
static struct firewall_row policy, set;
static struct network_overrides overrides;
static struct wireguard_row tunnel;
static struct plan_wish wish;

/* A text that is only read. */
#define TEXT(text) ((char *)(uintptr_t)(text))

#define DOCUMENT(port) "{\"image\":\"i\",\"network_interfaces\":[{\"iface_id\":\"eth0\"}],\"ports\":[{\"host_port\":80,\"guest_port\":" port "}]}"

static void setup(void)
{
    interface = (struct vm_interface){.iface_id = TEXT("eth0"), .tap = "svbr0t2", .mac = {{2, 0, 0, 0, 0, 1}}, .address = 0xac1e0002};
    vm = (struct vm_row){.uid = 7,
                         .id = TEXT("a"),
                         .image = TEXT("i"),
                         .config_text = TEXT(DOCUMENT("80")),
                         .boot_config = TEXT(""),
                         .observed = TEXT("{}"),
                         .stop_timeout_ms = -1,
                         .boot_wanted = 1,
                         .generation = 1,
                         .interfaces = &interface,
                         .interface_count = 1};
    image = (struct image_row){.id = TEXT("i"), .manifest = TEXT("{}"), .observed = TEXT("{}")};
    policy = (struct firewall_row){.vm_uid = 7, .text = TEXT("{}")};
    set = (struct firewall_row){.name = TEXT("office")};
    overrides = (struct network_overrides){.has_masquerade = true};
    tunnel = (struct wireguard_row){.generation = 3, .wanted = true, .document = TEXT("{}")};
    wish = (struct plan_wish){.vms = &vm,
                              .vm_count = 1,
                              .images = &image,
                              .image_count = 1,
                              .policies = &policy,
                              .policy_count = 1,
                              .sets = &set,
                              .set_count = 1,
                              .overrides = &overrides,
                              .override_count = 1,
                              .tunnels = &tunnel,
                              .tunnel_count = 1,
                              .firewall = true};
}

/* 0, or the code that it is refused with. */
static enum error_code send_over(struct plan_wish *ret)
{
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    record_write(&plan_wish_record, &wish, &bytes);
    ck_assert(!bytes.failed);
    return plan_wish_read(bytes.data, bytes.len, ret, &err) == 0 ? 0 : err.code;
}

/* Whole: as a value that its field does not allow, or as no record at all. */
static void check_refused(void)
{
    struct plan_wish read;
    const enum error_code code = send_over(&read);
    ck_assert(code == ERR_ROW_DAMAGED || code == ERR_BAD_REQUEST);
    ck_assert_ptr_null(read.vms);
    setup();
}

START_TEST(comes_back_as_it_was)
{
    struct plan_wish read;
    ck_assert_int_eq(send_over(&read), 0);
    ck_assert_uint_eq(read.vm_count + read.image_count + read.policy_count + read.set_count + read.override_count + read.tunnel_count, 6);
    ck_assert_str_eq(read.vms->id, "a");
    ck_assert_str_eq(read.vms->interfaces[0].tap, "svbr0t2");
    ck_assert_uint_eq(read.vms->config.ports[0].host_port, 80);
    ck_assert_str_eq(read.sets->name, "office");
    ck_assert_ptr_null(read.sets->text);
    ck_assert(read.overrides->has_masquerade && read.tunnels->wanted && read.firewall && !read.repair);
    plan_wish_free(&read);
    ck_assert_ptr_null(read.vms);
    wish = (struct plan_wish){.repair = true};
    ck_assert_int_eq(send_over(&read), 0);
    ck_assert(read.repair && read.vms == NULL);
    plan_wish_free(&read);
}
END_TEST

/* What would lead somewhere else on the host. */
START_TEST(values_that_no_row_has)
{
    struct vm_row two[2] = {vm, vm};
    vm.id = TEXT("../a");
    check_refused();
    vm.id = NULL;
    check_refused();
    vm.uid = 0;
    check_refused();
    vm.boot_wanted = -1;
    check_refused();
    vm.desired = (enum vm_desired)9;
    check_refused();
    memcpy(interface.tap, "all", sizeof "all");
    check_refused();
    memcpy(interface.tap, "a/b", sizeof "a/b");
    check_refused();
    vm.config_text = TEXT(DOCUMENT("0"));
    check_refused();
    image.id = TEXT("a/b");
    check_refused();
    image.kernel_sha256 = TEXT("../../../etc/passwd");
    check_refused();
    policy.vm_uid = -1;
    check_refused();
    set.name = TEXT("a b");
    check_refused();
    memcpy(overrides.uplink, "a/b", sizeof "a/b");
    check_refused();
    wish.vms = two;
    wish.vm_count = 2;
    check_refused();
}
END_TEST

// NOLINTBEGIN(clang-analyzer-unix.Malloc): all of it is freed by its cleanup
START_TEST(bytes_that_are_none)
{
    AUTO_RECORD_BYTES bytes = {.data = NULL};
    record_write(&plan_wish_record, &wish, &bytes);
    for (size_t len = 0; len < bytes.len; len++) {
        struct plan_wish read;
        AUTO_FREE uint8_t *cut = malloc(len + 1); /* so that a sanitizer sees the end */
        memcpy(cut, bytes.data, len);
        ck_assert_int_ne(plan_wish_read(cut, len, &read, &err), 0);
        ck_assert_ptr_null(read.vms);
    }
}
END_TEST
// NOLINTEND(clang-analyzer-unix.Malloc)

int main(void)
{
    Suite *suite = suite_create("plan_wish");
    TCase *tcase = tcase_create("plan_wish");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, comes_back_as_it_was);
    tcase_add_test(tcase, values_that_no_row_has);
    tcase_add_test(tcase, bytes_that_are_none);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
