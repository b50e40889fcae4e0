/* What of a host VMs may have, and what each takes. */
#include "core/capacity.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/vm_memory.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct config config;
static struct capacity_host host;

static void read_host(const char *text)
{
    AUTO_JSON *fact = NULL;
    ck_assert_int_eq(json_parse(text, strlen(text), &fact, NULL), 0);
    capacity_host_read(fact, &host);
}

static int64_t total(enum capacity_resource resource)
{
    return capacity_total(resource, &config, (struct ipv4_net){.address = 0xac1e0000, .prefix = 24}, &host);
}

static void setup(void)
{
    config = (struct config){.capacity = {.vcpu_factor = 16}};
}

START_TEST(each_resource_is_whole)
{
    for (int i = 0; i < CAPACITY_COUNT_; i++) {
        const struct capacity_type *type = &capacity_types[i];
        const struct reservation some = {1, 2, 3, 4};
        ck_assert(type->name != NULL && type->words != NULL && type->pointer[0] == '/');
        read_host("{\"memory_mib\":4096,\"cpus\":2,\"staging\":{\"in_memory\":true,\"size_mib\":2048}}");
        ck_assert_msg(total((enum capacity_resource)i) > 0, "%s", type->name);
        ck_assert_msg(reservation_amount(&some, (enum capacity_resource)i, &host) > 0, "%s", type->name);
        for (int k = 0; k < i; k++) {
            ck_assert_str_ne(capacity_types[k].name, type->name);
        }
    }
}
END_TEST

START_TEST(totals)
{
    read_host("{\"memory_mib\":16000,\"cpus\":3,\"staging\":{\"in_memory\":true,\"size_mib\":2048}}");
    ck_assert(total(CAPACITY_MEMORY) == 15000 && total(CAPACITY_VCPUS) == 48 && total(CAPACITY_DISK) == 2048);
    ck_assert(total(CAPACITY_ADDRESSES) == 253 && total(CAPACITY_BRIDGE_PORTS) == 1023);
    config.capacity.vcpu_factor = 1.5;
    ck_assert_int_eq(total(CAPACITY_VCPUS), 4);
    config.capacity.memory_mib = 100000; /* more than there is, on purpose */
    ck_assert_int_eq(total(CAPACITY_MEMORY), 100000);
    config.capacity.memory_mib = 0;
    read_host("{\"memory_mib\":1024}");
    ck_assert(total(CAPACITY_MEMORY) == 1024 - 256 && total(CAPACITY_VCPUS) == CAPACITY_UNKNOWN && total(CAPACITY_DISK) == CAPACITY_UNKNOWN);
    read_host("{\"memory_mib\":200}");
    ck_assert_int_eq(total(CAPACITY_MEMORY), 0);
    capacity_host_read(NULL, &host);
    ck_assert(!host.is_known && host.stages_in_memory && total(CAPACITY_MEMORY) == CAPACITY_UNKNOWN);
    config.capacity.memory_mib = 7;
    ck_assert_int_eq(total(CAPACITY_MEMORY), 7);
}
END_TEST

/* Which VMM a VM gets decides on what it takes. */
static const struct {
    const char *fact;
    unsigned automatic, qemu;
} overheads[] = {
    {"{}", 64, 256},
    {"{\"auto\":null,\"kvm\":{\"usable\":null}}", 64, 256},
    {"{\"auto\":{\"driver\":\"firecracker\"},\"kvm\":{\"usable\":true}}", 64, 256},
    {"{\"auto\":{\"driver\":\"qemu\"},\"kvm\":{\"usable\":true}}", 256, 256},
    {"{\"auto\":{\"driver\":\"qemu\"},\"kvm\":{\"usable\":false}}", 1280, 1280},
    {"{\"memory_mib\":64000,\"auto\":{\"driver\":\"qemu\"},\"kvm\":{\"usable\":false}}", 1280, 1280},
    {"{\"memory_mib\":1024,\"auto\":{\"driver\":\"qemu\"},\"kvm\":{\"usable\":false}}", 256 + 128, 256 + 128}, /* a small host */
    {"{\"auto\":{\"driver\":null},\"kvm\":{\"usable\":false}}", 64, 1280},
};

START_TEST(what_a_vmm_takes)
{
    read_host(overheads[_i].fact);
    ck_assert_uint_eq(host.overhead_mib[VM_VMM_FIRECRACKER], 64);
    ck_assert_uint_eq(host.overhead_mib[VM_VMM_AUTO], overheads[_i].automatic);
    ck_assert_uint_eq(host.overhead_mib[VM_VMM_QEMU], overheads[_i].qemu);
}
END_TEST

START_TEST(what_a_vm_takes)
{
    const struct vm_config vm = {.machine = {.vcpu_count = 2, .mem_size_mib = 640}, .vmm = VM_VMM_FIRECRACKER, .interface_count = 3};
    read_host("{\"staging\":{\"in_memory\":true}}");
    const struct reservation size = reservation_of(&vm, (5 << 20) + 1, &host);
    ck_assert(size.memory_mib == 640 + 10 + 64 && size.drive_mib == 6 && size.vcpus == 2 && size.interfaces == 3);
    ck_assert_int_eq(reservation_amount(&size, CAPACITY_MEMORY, &host), 640 + 10 + 64 + 6);
    host.stages_in_memory = false;
    ck_assert_int_eq(reservation_amount(&size, CAPACITY_MEMORY, &host), 640 + 10 + 64);
    ck_assert_int_eq(reservation_amount(&size, CAPACITY_DISK, &host), 6);
    ck_assert(vm_drive_mib(0) == 0 && vm_drive_mib(1) == 1 && vm_drive_mib(1 << 20) == 1 && vm_drive_mib(UINT64_MAX) == 1ULL << 44);
}
END_TEST

static const struct {
    const char *manifest, *observed;
    int64_t bytes;
} images[] = {
    {"{\"rootfs_is_read_only\":false}", "{\"rootfs\":{\"size_bytes\":4096}}", 4096},
    {"{}", "{\"rootfs\":{\"size_bytes\":4096}}", 4096},
    {"{\"rootfs_is_read_only\":true}", "{\"rootfs\":{\"size_bytes\":4096}}", 0},
    {"{}", "{}", 0},
    {"{}", "{\"rootfs\":{\"size_bytes\":-1}}", 0},
    {"{}", "{\"rootfs\":{\"size_bytes\":null}}", 0},
    {"no JSON", "{}", 0},
    {"{}", "no JSON", 0},
};

START_TEST(drives_of_an_image)
{
    char manifest[64];
    char observed[64];
    (void)snprintf(manifest, sizeof manifest, "%s", images[_i].manifest);
    (void)snprintf(observed, sizeof observed, "%s", images[_i].observed);
    const struct image_row row = {.manifest = manifest, .observed = observed};
    ck_assert_int_eq(capacity_drive_bytes(&row), images[_i].bytes);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("capacity");
    TCase *tcase = tcase_create("capacity");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_test(tcase, each_resource_is_whole);
    tcase_add_test(tcase, totals);
    tcase_add_loop_test(tcase, what_a_vmm_takes, 0, (int)ARRAY_LEN(overheads));
    tcase_add_test(tcase, what_a_vm_takes);
    tcase_add_loop_test(tcase, drives_of_an_image, 0, (int)ARRAY_LEN(images));
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
