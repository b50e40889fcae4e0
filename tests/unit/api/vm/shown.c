/* VMs as they are shown are rendered once per revision: what is shown is what is there all the same. */
#include "tests/unit/api/api_box.h"

#include "api/call.h"
#include "api/vm/shown.h"

static const struct shown_vm *show(const char *id)
{
    const struct shown_vm *vm = NULL;
    must(shown_vm_get(box.api, id, &vm, &box_error));
    return vm;
}

START_TEST(test_it_is_rendered_once)
{
    box_add_vm("a", VM_RUNNING);
    const struct shown_vm *first = show("a");
    ck_assert_ptr_nonnull(first);
    ck_assert_ptr_eq(show("a"), first);
    char etag[ETAG_MAX];
    memcpy(etag, first->etag, sizeof etag);
    box_observe("a", VM_PAUSED);
    ck_assert_str_ne(show("a")->etag, etag);
    ck_assert_int_eq(box_get("/vms/a"), 200);
    ck_assert_str_eq(box_string("state"), "paused");
    ck_assert_str_eq(box_header("ETag"), show("a")->etag);
    box_check_schema("Vm");
    ck_assert_ptr_null(show("b"));
}
END_TEST

START_TEST(test_another_one_of_its_name)
{
    box_add_vm("a", VM_RUNNING);
    ck_assert_str_ne(show("a")->body, "");
    box_remove_vm("a");
    ck_assert_ptr_null(show("a"));
    box_refused(404, "NOT_FOUND", "GET", "/vms/a", NULL, NULL);
    box_add_vm("a", VM_STOPPED);
    ck_assert_int_eq(box_get("/vms/a"), 200);
    ck_assert_str_eq(box_string("state"), "stopped");
}
END_TEST

/* Numbers that share a place push each other out of it, and are shown as what they are. */
START_TEST(test_numbers_that_share_a_place)
{
    static const char *const ids[] = {"a", "b", "a", "a", "b"};
    char sql[160];
    box_add_vm("a", VM_RUNNING);
    box_add_vm("b", VM_STOPPED);
    (void)snprintf(sql, sizeof sql, "UPDATE vms SET uid = %d + (SELECT uid FROM vms WHERE id = 'a') WHERE id = 'b'", SHOWN_VMS_MAX);
    box_change(sql);
    for (size_t i = 0; i < ARRAY_LEN(ids); i++) {
        ck_assert_str_eq(show(ids[i])->version.id, ids[i]);
        ck_assert(show(ids[i])->version.state == (ids[i][0] == 'a' ? VM_RUNNING : VM_STOPPED));
    }
}
END_TEST

/* One that is too large to be kept is shown as well. */
START_TEST(test_a_large_one)
{
    box_add_vm("a", VM_RUNNING);
    box_change("UPDATE vms SET observed = '{\"conditions\":[],\"x\":\"' || hex(zeroblob(10000)) || '\"}', revision = revision + 1 WHERE id = 'a'");
    for (int i = 0; i < 3; i++) {
        ck_assert_uint_gt(show("a")->len, SHOWN_VM_BYTES_MAX);
    }
    ck_assert_int_eq(box_get("/vms?limit=5"), 200);
    ck_assert_uint_gt(box.reply.body_len, SHOWN_VM_BYTES_MAX);
    box_change("UPDATE vms SET observed = '{}', revision = revision + 1 WHERE id = 'a'");
    ck_assert_uint_lt(show("a")->len, SHOWN_VM_BYTES_MAX);
}
END_TEST

/* A list that somebody planted an id into, which can't be one, comes to an end. */
START_TEST(test_an_id_that_cannot_be)
{
    box_add_vm("a", VM_RUNNING);
    box_add_vm("b", VM_RUNNING);
    box_change("UPDATE vms SET id = 'c' || hex(zeroblob(200)) WHERE id = 'b'");
    ck_assert_int_eq(box_get("/vms?limit=1"), 200);
    ck_assert_int_eq(box_get("/vms"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 1);
}
END_TEST

START_TEST(test_other_settings_of_the_network)
{
    box_add_vm("a", VM_RUNNING);
    char body[4096];
    ck_assert_int_lt(snprintf(body, sizeof body, "%s", show("a")->body), (int)sizeof body);
    box.api->network_overrides.generation++;
    ck_assert_str_eq(show("a")->body, body); /* it was rendered anew: the sanitizers know the old one as freed */
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_it_is_rendered_once, test_another_one_of_its_name, test_numbers_that_share_a_place,
        test_a_large_one,         test_an_id_that_cannot_be,    test_other_settings_of_the_network,
    };
    return box_run("api vm shown", tests, ARRAY_LEN(tests));
}
