/* Images over the API, and the manifests that make them. */
#include "tests/unit/api/api_box.h"

#include "api/image/manifest.h"
#include "core/limits.h"

#define SHA          "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define FILES        "\"kernel\":{\"path\":\"/srv/img/k\"},\"rootfs\":{\"path\":\"/srv/img/r\"}"
#define MANIFEST(id) "{\"schema_version\":1,\"bundle_id\":\"" id "\"," FILES "}"
#define INLINE(id)   "{\"manifest\":" MANIFEST(id) "}"

START_TEST(test_create_inline)
{
    ck_assert_int_eq(box_post("/images", INLINE("deb-1.0")), 201);
    box_check_schema("Image");
    ck_assert_str_eq(box_header("Location"), "/images/deb-1.0");
    ck_assert_ptr_nonnull(box_header("ETag"));
    ck_assert_str_eq(box_string("state"), "importing");
    ck_assert_str_eq(box_string("arch"), "x86_64"); /* a default */
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "kernel"), "source_path"), "/srv/img/k");
    ck_assert_str_eq(box.woken, "image/deb-1.0");
    box_refused(409, "ALREADY_EXISTS", "POST", "/images", INLINE("deb-1.0"), NULL);
    ck_assert_int_eq(box_get("/images/deb-1.0"), 200);
    box_check_schema("Image");
    box_refused(404, "NOT_FOUND", "GET", "/images/none", NULL, NULL);
}
END_TEST

START_TEST(test_camel_case)
{
    AUTO_JSON *stored = NULL;
    struct image_row row = {0};
    bool found = false;
    ck_assert_int_eq(box_post("/images", "{\"manifest\":{\"schemaVersion\":1,\"bundleId\":\"c\","
                                         "\"rootfsType\":\"squashfs\",\"rootfsIsReadOnly\":true,"
                                         "\"bootArgs\":\"quiet\",\"firecrackerVersion\":\"1.12\",\"kernel\":{"
                                         "\"path\":\"/srv/img/k\",\"sizeBytes\":7,"
                                         "\"fileName\":\"vmlinux\",\"sha256\":\"" SHA "\"},\"rootfs\":{\"path\":\"/srv/img/r\"}}}"),
                     201);
    box_check_schema("Image");
    ck_assert_str_eq(box_string("rootfs_type"), "squashfs");
    ck_assert_str_eq(box_string("boot_args"), "quiet");
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "kernel"), "file_name"), "vmlinux");
    must(images_get(box.worker, "c", &row, &found, &box_error));
    must(json_parse(row.manifest, strlen(row.manifest), &stored, &box_error));
    ck_assert_int_eq(json_get_int(json_object_get(stored, "kernel"), "size_bytes", 0), 7);
    ck_assert_ptr_null(strstr(row.manifest, "sizeBytes"));
    image_row_free(&row);
    box_refused(400, "INVALID_MANIFEST", "POST", "/images", "{\"manifest\":{\"schema_version\":1,\"bundleId\":\"c\",\"bundle_id\":\"d\"," FILES "}}", NULL);
    ck_assert_str_eq(box_fault(0), "/manifest/bundleId");
}
END_TEST

START_TEST(test_wrong_manifests)
{
    static const struct {
        const char *body;
        const char *pointer;
    } wrong[] = {
        {"{}", ""},
        {"{\"manifest\":{},\"manifest_path\":\"/srv/img/m\"}", ""},
        {"{\"manifest\":[]}", "/manifest"},
        {"{\"manifest\":{\"schema_version\":2,\"bundle_id\":\"a\"," FILES "}}", "/manifest/schema_version"},
        {"{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"a/b\"," FILES "}}", "/manifest/bundle_id"},
        {"{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"..\"," FILES "}}", "/manifest/bundle_id"},
        {"{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"a\",\"colour\":1," FILES "}}", "/manifest/colour"},
        {"{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"a\",\"arch\":\"mips\"," FILES "}}", "/manifest/arch"},
        {"{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"a\",\"initrd\":{\"path\":\"/srv/img/"
         "i\",\"sha256\":\"no\"}," FILES "}}",
         "/manifest/initrd/sha256"},
        {"{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"a\",\"initrd\":{\"path\":\"/srv/img/"
         "i\",\"file_name\":\"a/b\"}," FILES "}}",
         "/manifest/initrd/file_name"},
    };
    for (size_t i = 0; i < ARRAY_LEN(wrong); i++) {
        box_refused(400, "INVALID_MANIFEST", "POST", "/images", wrong[i].body, NULL);
        ck_assert_msg(strcmp(box_fault(0), wrong[i].pointer) == 0, "%s: %s", wrong[i].body, box_fault(0));
    }
    ck_assert_int_eq(box_get("/images"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 0);
}
END_TEST

START_TEST(test_paths)
{
    static char other_root[] = "//data/./images/";
    char *roots[] = {box.config.images.allowed_roots[0], other_root};
    char fault[MANIFEST_FAULT_MAX];
    box.config.images.allowed_roots = roots;
    box.config.images.allowed_root_count = 2;
    static const char *const good[] = {"/srv/img/k", "/srv//img/./a/b", "/data/images/x", "//srv/img/..k"};
    static const char *const bad[] = {"srv/img/k",     "/srv/img",    "/srv/img/",    "/srv/img/.", "/srv/imgs/k", "/srv", "/", "/srv/img/../x",
                                      "/srv/img/k/..", "/etc/shadow", "/data/images", "",           "../srv/img/k"};
    for (size_t i = 0; i < ARRAY_LEN(good); i++) {
        ck_assert_msg(!manifest_path_fault(&box.config, good[i], fault), "%s", good[i]);
    }
    for (size_t i = 0; i < ARRAY_LEN(bad); i++) {
        ck_assert_msg(manifest_path_fault(&box.config, bad[i], fault), "%s", bad[i]);
    }
    static char slash[] = "/";
    char *all[] = {slash};
    box.config.images.allowed_roots = all;
    box.config.images.allowed_root_count = 1;
    ck_assert(!manifest_path_fault(&box.config, "/etc/x", fault));
    box.config.images.allowed_root_count = 0;
    ck_assert(manifest_path_fault(&box.config, "/etc/x", fault));
    ck_assert_str_eq(fault, "must lie below a directory of images.allowed_roots, which is empty");
}
END_TEST

START_TEST(test_paths_by_request)
{
    box_refused(400, "PATH_NOT_ALLOWED", "POST", "/images",
                "{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"a\",\"kernel\":{\"path\":\"/etc/shadow\"},"
                "\"rootfs\":{\"path\":\"/srv/img/../r\"}}}",
                NULL);
    ck_assert_str_eq(box_fault(0), "/manifest/kernel/path");
    ck_assert_str_eq(box_fault(1), "/manifest/rootfs/path");
    box_refused(400, "PATH_NOT_ALLOWED", "POST", "/images", "{\"manifest_path\":\"/etc/m.json\"}", NULL);
    ck_assert_str_eq(box_fault(0), "/manifest_path");
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "images.allowed_roots, which has just /srv/img"));
    box_refused(400, "PATH_NOT_ALLOWED", "POST", "/images",
                "{\"manifest\":{\"schemaVersion\":1,\"bundleId\":\"a\",\"kernel\":{\"path\":\"k\"},\"rootfs\":{\"path\":\"/srv/img/r\"}}}", NULL);
    ck_assert_str_eq(box_fault(0), "/manifest/kernel/path");
    /* With another fault beside it, it is an invalid manifest. */
    box_refused(400, "INVALID_MANIFEST", "POST", "/images",
                "{\"manifest\":{\"bundle_id\":\"a\",\"kernel\":{\"path\":\"/etc/"
                "shadow\"},\"rootfs\":{\"path\":\"/srv/img/r\"}}}",
                NULL);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "errors")), 2);
}
END_TEST

static void ask_for_manifest(void)
{
    ck_assert_int_eq(box_send("POST", "/images", "{\"manifest_path\":\"/srv/img/m.json\"}", "Idempotency-Key", "k", NULL), 0);
    ck_assert_int_eq(box.reply.kind, API_REPLY_ASK);
    ck_assert_str_eq(box.reply.question, "{\"question\":\"read_manifest\",\"path\":\"/srv/img/m.json\"}");
}

START_TEST(test_create_by_path)
{
    ask_for_manifest();
    box_answer("{\"answer\":{\"manifest\":" MANIFEST("p") "}}", -1);
    ck_assert_int_eq(box.reply.status, 201);
    box_check_schema("Image");
    ck_assert_str_eq(box_string("id"), "p");
    ck_assert_int_eq(box_send("POST", "/images", "{\"manifest_path\":\"/srv/img/m.json\"}", "Idempotency-Key", "k", NULL), 201);
    ck_assert_str_eq(box_header("Idempotency-Replayed"), "true");
}
END_TEST

/* A bundle lies where its manifest lies. */
START_TEST(test_a_manifest_with_relative_paths)
{
    ask_for_manifest();
    box_answer("{\"answer\":{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"p\",\"kernel\":{\"path\":\"k\"},\"rootfs\":{\"path\":\"sub/./r\"},"
               "\"initrd\":{\"path\":\"/srv/img/other/i\"}}}}",
               -1);
    ck_assert_int_eq(box.reply.status, 201);
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "kernel"), "source_path"), "/srv/img/k");
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "rootfs"), "source_path"), "/srv/img/sub/./r");
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "initrd"), "source_path"), "/srv/img/other/i");
    ck_assert_int_eq(box_send("POST", "/images", "{\"manifest_path\":\"/srv/img/q/m.json\"}", NULL), 0);
    box_answer("{\"answer\":{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"q\",\"kernel\":{\"path\":\"../k\"},\"rootfs\":{\"path\":\"r\"}}}}", -1);
    box_check_problem(400, "PATH_NOT_ALLOWED");
    ck_assert_str_eq(box_fault(0), "/manifest_path");
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "/kernel/path"));
}
END_TEST

START_TEST(test_one_key_while_the_question_is_under_way)
{
    ask_for_manifest();
    struct api_reply first = box.reply;
    memset(&box.reply, 0, sizeof box.reply);
    ask_for_manifest();
    box_answer("{\"answer\":{\"manifest\":" MANIFEST("p") "}}", -1);
    ck_assert_int_eq(box.reply.status, 201);
    api_reply_free(&box.reply);
    box.reply = first;
    box_answer("{\"answer\":{\"manifest\":" MANIFEST("p") "}}", -1);
    ck_assert_int_eq(box.reply.status, 201);
    ck_assert_str_eq(box_header("Idempotency-Replayed"), "true");
}
END_TEST

START_TEST(test_create_by_path_fails)
{
    static const struct {
        const char *answer;
        int status;
        const char *code;
    } answers[] = {
        {NULL, 504, "TIMEOUT"},
        {"{\"error\":{\"code\":\"PATH_NOT_ALLOWED\",\"message\":\"a link leads out\"}}", 400, "PATH_NOT_ALLOWED"},
        {"{\"error\":{\"code\":\"NO_SUCH_CODE\"}}", 500, "INTERNAL"},
        {"{\"answer\":7}", 500, "INTERNAL"},
        {"{\"answer\":{\"manifest\":[]}}", 400, "INVALID_MANIFEST"},
        {"{\"answer\":{\"manifest\":{\"bundle_id\":\"p\"}}}", 400, "INVALID_MANIFEST"},
        {"{\"answer\":{\"manifest\":{\"schema_version\":1,\"bundle_id\":\"p\",\"kernel\":{\"path\":\"/etc/"
         "k\"},"
         "\"rootfs\":{\"path\":\"/srv/img/r\"}}}}",
         400, "PATH_NOT_ALLOWED"},
    };
    for (size_t i = 0; i < ARRAY_LEN(answers); i++) {
        ask_for_manifest();
        box_answer(answers[i].answer, -1);
        box_check_problem(answers[i].status, answers[i].code);
    }
    ck_assert_str_eq(box_fault(0), "/manifest_path");
    ck_assert_int_eq(box_get("/images/p"), 404);
}
END_TEST

static void finish_import(const char *id, enum image_state state, const char *observed)
{
    struct image_row row = {0};
    bool found = false;
    must(images_get(box.worker, id, &row, &found, &box_error));
    ck_assert(found);
    free(row.observed);
    row.observed = strdup(observed);
    row.state = state;
    must(images_set_observed(box.worker, &row, &box_error));
    image_row_free(&row);
}

START_TEST(test_wait_for_an_import)
{
    ck_assert_int_eq(box_post("/images?wait=5", INLINE("a")), 0);
    ck_assert_str_eq(box.reply.key, "image/a");
    ck_assert(!box_poll(false));
    finish_import("a", IMAGE_READY,
                  "{\"progress\":{\"bytes_done\":3,\"bytes_total\":3},\"kernel\":{\"sha256\":\"" SHA "\",\"source_sha256\":\"" SHA "\",\"size_bytes\":3}}");
    ck_assert(box_poll(false));
    ck_assert_int_eq(box.reply.status, 201);
    box_check_schema("Image");
    ck_assert_str_eq(box_string("state"), "ready");
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "kernel"), "sha256"), SHA);
    ck_assert_int_eq(json_get_int(json_object_get(box.json, "progress"), "bytes_done", 0), 3);
    ck_assert_int_eq(box_post("/images?wait=5", INLINE("b")), 0);
    ck_assert(box_poll(true));
    ck_assert_int_eq(box.reply.status, 202);
}
END_TEST

START_TEST(test_a_failed_import_is_replaced)
{
    ck_assert_int_eq(box_post("/images?wait=5", INLINE("a")), 0);
    finish_import("a", IMAGE_FAILED, "{\"error\":{\"code\":\"DIGEST_MISMATCH\",\"message\":\"m\"}}");
    ck_assert(box_poll(false));
    ck_assert_int_eq(box.reply.status, 409);
    box_check_schema("Problem");
    ck_assert_str_eq(box_string("code"), "DIGEST_MISMATCH");
    ck_assert_str_eq(json_get_string(json_object_get(box.json, "resource"), "state"), "failed");
    ck_assert_int_eq(box_post("/images", INLINE("a")), 201);
    box_check_schema("Image");
    ck_assert_str_eq(box_string("state"), "importing");
    ck_assert(json_is_null(json_object_get(box.json, "error")));
}
END_TEST

START_TEST(test_delete)
{
    box_add_vm("v", VM_STOPPED);
    box_refused(409, "IN_USE", "DELETE", "/images/img", NULL, NULL);
    ck_assert_ptr_nonnull(strstr(box_string("detail"), "'v'"));
    box_remove_vm("v");
    ck_assert_int_eq(box_send("DELETE", "/images/img?wait=5", NULL, NULL), 0);
    ck_assert_str_eq(box.woken, "image/img");
    ck_assert(!box_poll(false));
    must(images_remove(box.worker, "img", &box_error));
    ck_assert(box_poll(false));
    ck_assert_int_eq(box.reply.status, 204);
    box_refused(404, "NOT_FOUND", "DELETE", "/images/img", NULL, NULL);
}
END_TEST

START_TEST(test_delete_again)
{
    box_add_image("img");
    ck_assert_int_eq(box_send("DELETE", "/images/img", NULL, NULL), 202);
    box_check_schema("Image");
    ck_assert_str_eq(box_string("state"), "deleting");
    char etag[64];
    (void)snprintf(etag, sizeof etag, "%s", box_header("ETag"));
    ck_assert_int_eq(box_send("DELETE", "/images/img", NULL, NULL), 202);
    ck_assert_str_eq(box_header("ETag"), etag);
    box_refused(409, "IMAGE_NOT_READY", "POST", "/vms", "{\"image\":\"img\"}", NULL);
}
END_TEST

START_TEST(test_list_and_limit)
{
    char id[32];
    for (int i = 0; i < LIMIT_IMAGES; i++) {
        (void)snprintf(id, sizeof id, "i%04d", i);
        box_add_image(id);
    }
    ck_assert_int_eq(box_get("/images?limit=999"), 200);
    box_check_schema("ImageList");
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 999);
    ck_assert_str_eq(box_string("next_cursor"), "i0998");
    ck_assert_int_eq(box_get("/images?limit=999&cursor=i0998"), 200);
    ck_assert_uint_eq(json_array_size(json_object_get(box.json, "items")), 1);
    ck_assert_ptr_null(box_string("next_cursor"));
    box_refused(429, "TOO_MANY_REQUESTS", "POST", "/images", INLINE("more"), NULL);
    must(images_remove(box.worker, "i0000", &box_error));
    ck_assert_int_eq(box_post("/images", INLINE("more")), 201);
}
END_TEST

int main(void)
{
    const TTest *const tests[] = {
        test_create_inline,
        test_camel_case,
        test_wrong_manifests,
        test_paths,
        test_paths_by_request,
        test_create_by_path,
        test_a_manifest_with_relative_paths,
        test_one_key_while_the_question_is_under_way,
        test_create_by_path_fails,
        test_wait_for_an_import,
        test_a_failed_import_is_replaced,
        test_delete,
        test_delete_again,
        test_list_and_limit,
    };
    return box_run("api images", tests, ARRAY_LEN(tests));
}
