/* The table of devices, row by row: what each has to have, here, in the document and in each VMM. */
#include "core/cleanup.h"
#include "core/device.h"
#include "core/limits.h"
#include "core/vm_config.h"
#include "host/vmm/firecracker.h"
#include "host/vmm/qemu.h"
#include "worker/vm/plan.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static int member_of(const char *name)
{
    for (int i = 0; i < VM_CONFIG_MEMBER_COUNT_; i++) {
        if (strcmp(vm_config_member_name((enum vm_config_member)i), name) == 0) {
            return i;
        }
    }
    return -1;
}

static bool is_operation(const char *call)
{
    for (int i = 0; i < VM_OP_COUNT_; i++) {
        if (strcmp(vm_op_name((enum vm_op_type)i), call) == 0) {
            return true;
        }
    }
    return call[0] == '\0';
}

START_TEST(each_row_is_whole)
{
    for (size_t i = 0; i < DEVICE_COUNT_; i++) {
        const struct device_type *type = &device_types[i];
        ck_assert_ptr_nonnull(type->name);
        ck_assert_msg(type->at_most > 0, "%s", type->name);
        ck_assert_msg((member_of(type->name) >= 0) == type->is_given, "%s", type->name);
        for (size_t k = 0; k < DEVICE_LIVE_MAX && type->live[k].field != NULL; k++) {
            ck_assert_msg(is_operation(type->live[k].call), "%s: %s", type->name, type->live[k].call);
        }
        ck_assert_int_lt(type->keeps, DEVICE_KEEP_COUNT_);
        for (size_t k = 0; k < i; k++) {
            ck_assert_str_ne(type->name, device_types[k].name);
        }
    }
}
END_TEST

START_TEST(each_vmm_has_what_the_table_says)
{
    for (size_t i = 0; i < DEVICE_COUNT_; i++) {
        const struct device_type *type = &device_types[i];
        const bool is_of_vmm = type->firecracker != NULL;
        ck_assert_msg((firecracker_sections[i] != NULL) == is_of_vmm, "%s", type->name);
        ck_assert_msg((qemu_writers[i] != NULL) == (is_of_vmm && type->qemu), "%s", type->name);
    }
}
END_TEST

START_TEST(a_change_is_live_or_waits)
{
    for (size_t i = 0; i < DEVICE_COUNT_; i++) {
        const int member = member_of(device_types[i].name);
        if (member >= 0) {
            const bool waits = vm_config_at_next_boot(1U << member) != 0;
            ck_assert_msg(waits == !device_is_live(&device_types[i]), "%s", device_types[i].name);
        }
    }
    ck_assert(device_is_live(&device_types[DEVICE_PORTS]) && !device_is_live(&device_types[DEVICE_MACHINE]));
}
END_TEST

START_TEST(what_a_vmm_lacks_is_named)
{
    struct device_type types[DEVICE_COUNT_];
    memcpy(types, device_types, sizeof types);
    ck_assert_ptr_null(device_lacking(types, DEVICE_COUNT_, ~0U, "qemu"));
    types[DEVICE_DRIVES].qemu = false;
    ck_assert_ptr_eq(device_lacking(types, DEVICE_COUNT_, ~0U, "qemu"), &types[DEVICE_DRIVES]);
    ck_assert_ptr_null(device_lacking(types, DEVICE_COUNT_, ~(1U << DEVICE_DRIVES), "qemu"));
    ck_assert_ptr_null(device_lacking(types, DEVICE_COUNT_, ~0U, "firecracker"));
    ck_assert_ptr_null(device_lacking(types, DEVICE_COUNT_, ~0U, "auto"));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("device");
    TCase *tcase = tcase_create("device");
    tcase_add_test(tcase, each_row_is_whole);
    tcase_add_test(tcase, each_vmm_has_what_the_table_says);
    tcase_add_test(tcase, a_change_is_live_or_waits);
    tcase_add_test(tcase, what_a_vmm_lacks_is_named);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
