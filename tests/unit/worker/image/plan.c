/* The planner of images. */
#include "worker/image/plan.h"

#include "core/cleanup.h"
#include "core/json.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static struct image_plan plan;

static void check_op(size_t i, enum image_op_type type, enum image_part part)
{
    ck_assert_uint_lt(i, plan.count);
    ck_assert_int_eq(plan.ops[i].type, type);
    ck_assert_int_eq(plan.ops[i].part, part);
}

START_TEST(an_import_takes_what_the_manifest_has)
{
    static const bool needed[IMAGE_PART_COUNT_];
    const struct image_row row = {.id = NULL};
    AUTO_JSON *manifest = json_pack("{s:{}, s:{}, s:s}", "kernel", "initrd", "bundle_id", "x");
    image_plan_make(IMAGE_IMPORTING, &row, manifest, needed, &plan);
    ck_assert_uint_eq(plan.count, 2);
    check_op(0, IMAGE_OP_IMPORT, IMAGE_KERNEL);
    check_op(1, IMAGE_OP_IMPORT, IMAGE_INITRD);
}
END_TEST

START_TEST(a_deletion_leaves_what_others_need)
{
    const bool needed[IMAGE_PART_COUNT_] = {[IMAGE_ROOTFS] = true};
    char digest[] = "d";
    const struct image_row row = {.kernel_sha256 = digest, .rootfs_sha256 = digest};
    image_plan_make(IMAGE_DELETING, &row, NULL, needed, &plan);
    ck_assert_uint_eq(plan.count, 2);
    check_op(0, IMAGE_OP_REMOVE, IMAGE_KERNEL);
    ck_assert_int_eq(plan.ops[1].type, IMAGE_OP_FORGET);
}
END_TEST

START_TEST(what_is_done_needs_nothing)
{
    static const bool needed[IMAGE_PART_COUNT_];
    char digest[] = "d";
    const struct image_row row = {.kernel_sha256 = digest};
    AUTO_JSON *manifest = json_pack("{s:{}}", "kernel");
    static const enum image_state done[] = {IMAGE_READY, IMAGE_FAILED};
    for (size_t i = 0; i < ARRAY_LEN(done); i++) {
        image_plan_make(done[i], &row, manifest, needed, &plan);
        ck_assert_uint_eq(plan.count, 0);
    }
}
END_TEST

START_TEST(everything_has_a_name)
{
    for (int i = 0; i < IMAGE_OP_COUNT_; i++) {
        ck_assert_uint_gt(strlen(image_op_name((enum image_op_type)i)), 2);
        ck_assert_uint_gt(strlen(image_op_description((enum image_op_type)i)), 10);
    }
    for (int i = 0; i < IMAGE_PART_COUNT_; i++) {
        ck_assert_uint_gt(strlen(image_part_name((enum image_part)i)), 2);
    }
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("image_plan");
    TCase *tcase = tcase_create("image_plan");
    tcase_add_test(tcase, an_import_takes_what_the_manifest_has);
    tcase_add_test(tcase, a_deletion_leaves_what_others_need);
    tcase_add_test(tcase, what_is_done_needs_nothing);
    tcase_add_test(tcase, everything_has_a_name);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
