/* Policies of VMs that are deleted while a client waits for an answer about them. */
#include "tests/unit/api/api_box.h"

START_TEST(test_a_policy_is_not_the_default_one_when_its_vm_has_gone)
{
    box_add_vm("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PUT", "/vms/a/firewall", "{\"egress\":{\"default_action\":\"deny\"}}", NULL), 202);
    ck_assert_int_eq(box_get("/vms/a/firewall"), 0);
    box_answer("{\"result\":{}}", -1);
    ck_assert_int_eq(box.reply.status, 200);
    ck_assert(json_is_true(json_object_get(box.json, "own")));
    ck_assert_int_eq(box_get("/vms/a/firewall"), 0);
    box_remove_vm("a");
    box_answer("{\"result\":{}}", -1);
    box_check_problem(404, "NOT_FOUND");
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "in the meantime"));
}
END_TEST

START_TEST(test_another_vm_with_the_id_is_another)
{
    box_add_vm("a", VM_STOPPED);
    ck_assert_int_eq(box_get("/vms/a/firewall"), 0);
    box_remove_vm("a");
    struct api_reply asked = box.reply;
    box.reply = (struct api_reply){0};
    box_add_vm("a", VM_STOPPED);
    api_reply_free(&box.reply);
    box.reply = asked;
    box_answer(NULL, -1);
    box_check_problem(404, "NOT_FOUND");
}
END_TEST

START_TEST(test_a_change_whose_vm_goes_is_not_waited_for)
{
    box_add_vm("a", VM_STOPPED);
    ck_assert_int_eq(box_send("PUT", "/vms/a/firewall?wait=5", "{\"egress\":{\"default_action\":\"deny\"}}", NULL), 0);
    ck_assert(!box_poll(false));
    box_remove_vm("a");
    ck_assert(box_poll(false));
    box_check_problem(404, "NOT_FOUND");
    ck_assert_str_eq(box_string("detail"), "the VM was deleted in the meantime");
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_a_policy_is_not_the_default_one_when_its_vm_has_gone,
        test_another_vm_with_the_id_is_another,
        test_a_change_whose_vm_goes_is_not_waited_for,
    };
    return box_run("api firewall", tests, ARRAY_LEN(tests));
}
