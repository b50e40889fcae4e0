/* Documents while memory is short: whole, or none. Jansson's allocations fail one after another, once and from then on. */
#include "core/cleanup.h"
#include "core/json.h"
#include "core/json_build.h"
#include "core/policy.h"
#include "core/wireguard.h"
#include "worker/conditions.h"

#include <check.h>
#include <stdlib.h>
#include <string.h>

static long left = -1; /* allocations until one fails; -1: none does */
static bool for_ever;

static void *failing_malloc(size_t size)
{
    if (left == 0) {
        left = for_ever ? 0 : -1;
        return NULL;
    }
    left -= left > 0;
    return malloc(size);
}

static void setup(void)
{
    left = -1;
    json_set_alloc_funcs(failing_malloc, free);
}

static json_t *make_nested(void)
{
    AUTO_JSON_BUILD inner = json_build_array();
    AUTO_JSON_BUILD outer = json_build_object();
    json_build_add(&inner, json_string("one"));
    json_build_add(&inner, json_pack("{s:i}", "two", 2));
    json_build_put(&outer, "inner", json_build_take(&inner));
    json_build_put(&outer, "null", json_or_null(NULL));
    json_build_put(&outer, "text", json_string("text"));
    return json_build_take(&outer);
}

/* As a reconciler publishes them: none may be missing. */
static json_t *make_conditions(void)
{
    AUTO_JSON_BUILD list = json_build_array();
    conditions_add(&list, NULL, CONDITION_READY, CONDITION_FALSE, condition_reason_of(ERR_SYSTEM), "because");
    conditions_add(&list, NULL, CONDITION_CONTESTED, CONDITION_TRUE, REASON_CONTESTED, "somebody");
    return json_build_take(&list);
}

static json_t *make_tunnel(void)
{
    static struct wireguard_peer peer = {.host = "192.0.2.1", .port = 51820, .keepalive = 25};
    struct wireguard config = {.managed = true, .interface_name = "svwg0", .peers = &peer, .peer_count = 1};
    return wireguard_json(&config);
}

static json_t *make_policy(void)
{
    struct policy policy = {0};
    policy_defaults(&policy);
    json_t *json = policy_json(&policy);
    policy_free(&policy);
    return json;
}

static json_t *(*const makers[])(void) = {make_nested, make_conditions, make_tunnel, make_policy};

/* Times apart, two documents of the same are the same text. */
static char *text_of(json_t *(*make)(void))
{
    AUTO_JSON *json = make();
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(json, i, item)
    {
        ck_assert(json_get_string(item, "since") != NULL || left >= 0);
        (void)json_object_del(item, "since");
    }
    return json_text(json);
}

START_TEST(a_document_is_whole_or_none)
{
    enum { ENOUGH = 10000 };
    json_t *(*make)(void) = makers[_i / 2];
    AUTO_FREE char *wanted = text_of(make);
    long n = 0;
    ck_assert_ptr_nonnull(wanted);
    for_ever = _i % 2 == 1;
    for (bool done = false; !done; n++) {
        ck_assert_int_lt(n, ENOUGH);
        left = n;
        AUTO_JSON *json = make();
        done = left > 0;
        left = -1;
        ck_assert(json != NULL || !done);
        if (json != NULL) {
            size_t i = 0;
            json_t *item = NULL;
            json_array_foreach(json, i, item)
            {
                ck_assert_ptr_nonnull(json_get_string(item, "since"));
                (void)json_object_del(item, "since");
            }
            AUTO_FREE char *text = json_text(json);
            ck_assert_str_eq(wanted, text);
        }
    }
    ck_assert_int_gt(n, 3);
}
END_TEST

START_TEST(a_value_that_could_not_be_made_is_a_failure)
{
    AUTO_JSON_BUILD object = json_build_object();
    json_build_put(&object, "a", json_integer(1));
    json_build_put(&object, "b", NULL);
    json_build_put(&object, "c", json_integer(3));
    ck_assert_ptr_null(json_build_take(&object));
    AUTO_JSON_BUILD array = json_build_array();
    json_build_add(&array, NULL);
    json_build_add(&array, json_integer(3));
    ck_assert_ptr_null(json_build_take(&array));
}
END_TEST

START_TEST(what_is_borrowed_stays)
{
    AUTO_JSON *value = json_string("kept");
    AUTO_JSON *copy = json_or_null(value);
    ck_assert_ptr_eq(value, copy);
    AUTO_JSON *none = json_or_null(NULL);
    ck_assert(json_is_null(none));
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("json_build");
    TCase *tcase = tcase_create("json_build");
    tcase_add_checked_fixture(tcase, setup, NULL);
    tcase_add_loop_test(tcase, a_document_is_whole_or_none, 0, 2 * (int)ARRAY_LEN(makers));
    tcase_add_test(tcase, a_value_that_could_not_be_made_is_a_failure);
    tcase_add_test(tcase, what_is_borrowed_stays);
    suite_add_tcase(suite, tcase);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_ENV);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? 0 : 1;
}
