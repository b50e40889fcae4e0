#include "api/spec/spec.h"
#include "core/limits.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char document[] = "openapi: 3.1.0\n"
                               "info: {title: t, version: '1'}\n"
                               "components:\n"
                               "  parameters:\n"
                               "    id: {name: id, in: path, required: true, schema: {type: string}}\n"
                               "    key: {name: key, in: path, required: true, schema: {type: string}}\n"
                               "  requestBodies:\n"
                               "    Vm: {required: true, content: {application/json: {schema: {type: object}}}}\n"
                               "paths:\n"
                               "  /:\n"
                               "    get: {operationId: root, responses: {}}\n"
                               "  /vms:\n"
                               "    get: {operationId: list, responses: {}}\n"
                               "    post:\n"
                               "      operationId: create\n"
                               "      x-invalid-code: INVALID_CONFIG\n"
                               "      requestBody: {$ref: '#/components/requestBodies/Vm'}\n"
                               "  /vms/{id}:\n"
                               "    parameters: [{$ref: '#/components/parameters/id'}]\n"
                               "    get: {operationId: get}\n"
                               "    delete: {operationId: delete}\n"
                               "  /vms/batch:\n"
                               "    post: {operationId: batch}\n"
                               "  /vms/{id}/console:\n"
                               "    parameters: [{$ref: '#/components/parameters/id'}]\n"
                               "    post:\n"
                               "      operationId: input\n"
                               "      x-max-body-bytes: 4096\n"
                               "      requestBody: {content: {text/plain: {schema: {type: string}}}}\n"
                               "  /vms/{id}/{key}:\n"
                               "    parameters: [{$ref: '#/components/parameters/id'}, {$ref: '#/components/parameters/key'}]\n"
                               "    get: {operationId: any}\n"
                               "  /{id}/batch/x:\n"
                               "    parameters: [{$ref: '#/components/parameters/id'}]\n"
                               "    get: {operationId: late}\n"
                               "  /vms/{id}/x:\n"
                               "    parameters: [{$ref: '#/components/parameters/id'}]\n"
                               "    get: {operationId: early}\n"
                               "    options: {operationId: options}\n"
                               "    patch: {operationId: patch}\n"
                               "    put: {operationId: put}\n"
                               "    post: {operationId: post}\n"
                               "    delete: {operationId: remove}\n";

static struct spec *spec;

static void load(void)
{
    struct error err = {0};
    ck_assert_msg(spec_load(document, strlen(document), &spec, &err) == 0, "%s", err.message);
}

static void unload(void)
{
    spec_free(spec);
}

/* Splits like the API does: "/vms/" is "vms" and "". */
static enum spec_route_result find(const char *method, const char *path, struct spec_route *route)
{
    static char text[256];
    const char *segments[LIMIT_PATH_SEGMENTS + 1];
    size_t count = 0;
    (void)snprintf(text, sizeof text, "%s", path + 1);
    for (char *rest = text; rest != NULL && count <= LIMIT_PATH_SEGMENTS;) {
        segments[count++] = strsep(&rest, "/");
    }
    return spec_find(spec, method, segments, count, route);
}

static const struct {
    const char *method;
    const char *path;
    const char *id; /* NULL: there is no such path */
    const char *parameters[2];
} rows[] = {
    {"GET", "/", "root", {NULL}},
    {"HEAD", "/", "root", {NULL}},
    {"GET", "/vms", "list", {NULL}},
    {"HEAD", "/vms", "list", {NULL}},
    {"POST", "/vms", "create", {NULL}},
    {"GET", "/vms/web", "get", {"web"}},
    {"DELETE", "/vms/web", "delete", {"web"}},
    {"POST", "/vms/batch", "batch", {NULL}},
    {"GET", "/vms/batches", "get", {"batches"}},
    {"GET", "/vms/a%2fb", "get", {"a%2fb"}},
    {"POST", "/vms/a/console", "input", {"a"}},
    {"GET", "/vms/a/other", "any", {"a", "other"}},
    {"GET", "/vms/batch/x", "early", {"batch"}},
    {"GET", "/other/batch/x", "late", {"other"}},
    {"OPTIONS", "/vms/a/x", "options", {"a"}},
    {"GET", "/vms/", NULL, {NULL}},
    {"GET", "/vms//x", NULL, {NULL}},
    {"GET", "/VMS", NULL, {NULL}},
    {"GET", "/vm", NULL, {NULL}},
    {"GET", "/vms/a/x/", NULL, {NULL}},
    {"GET", "/vms/a/x/y", NULL, {NULL}},
    {"GET", "/a/b/c/d/e/f/g/h/i", NULL, {NULL}},
    {"GET", "//", NULL, {NULL}},
};

START_TEST(requests_find_their_operation)
{
    struct spec_route route;
    enum spec_route_result result = find(rows[_i].method, rows[_i].path, &route);
    if (rows[_i].id == NULL) {
        ck_assert_int_eq(result, SPEC_ROUTE_NO_PATH);
        ck_assert_ptr_null(route.operation);
        return;
    }
    ck_assert_int_eq(result, SPEC_ROUTE_FOUND);
    ck_assert_str_eq(route.operation->id, rows[_i].id);
    size_t count = 0;
    for (; count < 2 && rows[_i].parameters[count] != NULL; count++) {
        ck_assert_str_eq(route.path_parameters[count].value, rows[_i].parameters[count]);
        ck_assert_str_eq(route.path_parameters[count].name, count == 0 ? "id" : "key");
    }
    ck_assert_uint_eq(route.path_parameter_count, count);
}
END_TEST

START_TEST(no_segments_are_the_root)
{
    struct spec_route route;
    ck_assert_int_eq(spec_find(spec, "GET", NULL, 0, &route), SPEC_ROUTE_FOUND);
    ck_assert_str_eq(route.operation->id, "root");
}
END_TEST

static const struct {
    const char *method;
    const char *path;
    const char *allow;
} other_methods[] = {
    {"PUT", "/vms", "GET, HEAD, POST, OPTIONS"}, {"get", "/vms", "GET, HEAD, POST, OPTIONS"},
    {"", "/vms", "GET, HEAD, POST, OPTIONS"},    {"OPTIONS", "/vms", "GET, HEAD, POST, OPTIONS"},
    {"HEAD", "/vms/batch", "POST, OPTIONS"},     {"GET", "/vms/batch", "POST, OPTIONS"},
    {"DELETE", "/vms/batch", "POST, OPTIONS"},   {"TRACE", "/vms/a/x", "GET, HEAD, PUT, POST, PATCH, DELETE, OPTIONS"},
};

START_TEST(other_methods_get_those_that_there_are)
{
    struct spec_route route;
    ck_assert_int_eq(find(other_methods[_i].method, other_methods[_i].path, &route), SPEC_ROUTE_NO_METHOD);
    ck_assert_str_eq(route.allow, other_methods[_i].allow);
    ck_assert_ptr_null(route.operation);
}
END_TEST

START_TEST(operations_say_what_they_take)
{
    struct spec_route route;
    ck_assert_int_eq(find("POST", "/vms", &route), SPEC_ROUTE_FOUND);
    ck_assert_str_eq(route.operation->invalid_code, "INVALID_CONFIG");
    ck_assert_uint_eq(route.operation->body_media_type_count, 1);
    ck_assert_str_eq(route.operation->body_media_types[0], "application/json");
    ck_assert(route.operation->has_body && route.operation->body_required && route.operation->body_is_json);
    ck_assert_uint_eq(route.operation->max_body_bytes, LIMIT_BODY_BYTES);
    ck_assert_int_eq(find("POST", "/vms/a/console", &route), SPEC_ROUTE_FOUND);
    ck_assert_str_eq(route.operation->invalid_code, "INVALID_REQUEST");
    ck_assert_str_eq(route.operation->body_media_types[0], "text/plain");
    ck_assert(route.operation->has_body && !route.operation->body_required && !route.operation->body_is_json);
    ck_assert_uint_eq(route.operation->max_body_bytes, 4096);
    ck_assert_int_eq(find("GET", "/vms", &route), SPEC_ROUTE_FOUND);
    ck_assert(!route.operation->has_body);
    ck_assert_str_eq(route.operation->method, "GET");
    ck_assert_str_eq(route.operation->path, "/vms");
}
END_TEST

START_TEST(operations_can_be_listed)
{
    ck_assert_uint_eq(spec_operation_count(spec), 15);
    ck_assert_str_eq(spec_operation_at(spec, 0)->id, "root");
    for (size_t i = 0; i < spec_operation_count(spec); i++) {
        ck_assert_ptr_nonnull(spec_operation_at(spec, i)->method);
        ck_assert_int_eq(spec_operation_at(spec, i)->path[0], '/');
    }
    ck_assert_ptr_nonnull(json_object_get(spec_document(spec), "paths"));
}
END_TEST

#define OP "{get: {operationId: a}}"
#define ID "parameters: [{name: id, in: path, required: true, schema: {type: string}}]"
static const struct {
    const char *paths;
    const char *words;
} refused[] = {
    {"{vms: " OP "}", "#/paths/vms: a path must begin with /"},
    {"{/vms/: " OP "}", "#/paths/~1vms~1: a segment must not be empty"},
    {"{//vms: " OP "}", "must not be empty"},
    {"{/vms/{id}: " OP "}", "did not find"},
    {"{'/vms/{id}': " OP "}", "the path parameter id is not described"},
    {"{'/vms': {" ID ", get: {operationId: a}}}", "a path parameter is not in the path"},
    {"{'/vms/{id}/{id}': {" ID ", get: {operationId: a}}}", "a path parameter is not in the path"},
    {"{'/vms/{id}:start': " OP "}", "plain text"},
    {"{'/vms/a{id}': " OP "}", "plain text"},
    {"{'/vms/{}': " OP "}", "plain text"},
    {"{'/a/b/c/d/e/f/g/h/i': " OP "}", "at most 8 segments"},
    {"{'/{a}/{b}/{c}/{d}/{e}': " OP "}", "at most 4 parameters"},
    {"{/a: {get: {operationId: a}, put: {operationId: a}}}", "#/paths/~1a/put: the operationId a is there twice"},
    {"{/a: {get: {}}}", "has no operationId"},
    {"{/a: {head: {operationId: a}}}", "#/paths/~1a/head: is not a known keyword"},
    {"{/a: {get: {operationId: a, callbacks: {}}}}", "#/paths/~1a/get/callbacks: is not a known keyword"},
    {"{/a: {get: {operationId: a, x-invalid-code: NOPE}}}", "x-invalid-code must be"},
    {"{/a: {get: {operationId: a, x-max-body-bytes: 0}}}", "x-max-body-bytes must be"},
    {"{/a: {get: {operationId: a, x-max-body-bytes: '9'}}}", "x-max-body-bytes must be"},
    {"{/a: {get: {operationId: a, requestBody: {content: {}}}}}", "must have 1 to 4 media types"},
    {"{/a: {get: {operationId: a, requestBody: {content: {a/a: {schema: {}}, a/b: {schema: {}}, a/c: {schema: {}}, a/d: {schema: {}}, a/e: {schema: {}}}}}}}",
     "must have 1 to 4 media types"},
    {"{/a: {get: {operationId: a, requestBody: {content: {application/json: {schema: {}}, text/plain: {schema: {}}}}}}}",
     "must be JSON of the same schema as application/json, or neither"},
    {"{/a: {get: {operationId: a, requestBody: {content: {application/json: {schema: {}}, a/b+json: {schema: {type: string}}}}}}}",
     "must be JSON of the same schema as application/json, or neither"},
    {"{/a: {get: {operationId: a, requestBody: {required: 1, content: {a/b: {schema: {}}}}}}}", "true or false"},
    {"{/a: {get: {operationId: a, requestBody: {content: {a/b: {}}}}}}", "a~1b/schema: must be a schema"},
    {"{/a: {get: {operationId: a, requestBody: {$ref: '#/components/requestBodies/X'}}}}", "there is no"},
    {"{/a: {get: {operationId: a, requestBody: {$ref: '#/components/schemas/X'}}}}", "$ref must be"},
    {"{'/a/{id}': {" ID ", get: {operationId: a}}, '/a/{key}': {parameters: [{name: key, in: path, required: true, "
     "schema: {}}], get: {operationId: b}}}",
     "match the same"},
    {"5", "#/paths: must be an object"},
    {"{/a: 5}", "#/paths/~1a: must be an object"},
    {"{/a: {get: 5}}", "#/paths/~1a/get: must be an object"},
};

START_TEST(paths_that_cannot_work_are_refused)
{
    char text[1024];
    struct error err = {0};
    struct spec *untouched = NULL;
    (void)snprintf(text, sizeof text, "openapi: 3.1.0\npaths: %s\n", refused[_i].paths);
    ck_assert_msg(spec_load(text, strlen(text), &untouched, &err) == -1, "accepted: %s", refused[_i].paths);
    ck_assert_ptr_null(untouched);
    ck_assert_int_eq(err.code, ERR_INTERNAL);
    ck_assert_msg(strstr(err.message, refused[_i].words) != NULL, "'%s' lacks '%s'", err.message, refused[_i].words);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spec_route");
    TCase *tests = tcase_create("route");
    tcase_add_checked_fixture(tests, load, unload);
    tcase_add_loop_test(tests, requests_find_their_operation, 0, (int)(sizeof rows / sizeof *rows));
    tcase_add_test(tests, no_segments_are_the_root);
    tcase_add_loop_test(tests, other_methods_get_those_that_there_are, 0, (int)(sizeof other_methods / sizeof *other_methods));
    tcase_add_test(tests, operations_say_what_they_take);
    tcase_add_test(tests, operations_can_be_listed);
    suite_add_tcase(suite, tests);
    TCase *faults = tcase_create("faults");
    tcase_add_loop_test(faults, paths_that_cannot_work_are_refused, 0, (int)(sizeof refused / sizeof *refused));
    suite_add_tcase(suite, faults);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
