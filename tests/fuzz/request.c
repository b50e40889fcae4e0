/*
 * A whole request through router, validator and handlers, against a real database: the first line is "<method> <target>", the lines up to an empty
 * one are headers, the rest is the body.
 */
#include "api/api.h"
#include "api/spec/spec.h"
#include "core/cleanup.h"
#include "db/db.h"
#include "server/openapi_data.h"
#include "tests/unit/db/ready.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { HEADERS_MAX = 16 };

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct api *fuzzed;
static char dir[] = "/dev/shm/smartvm-fuzz-XXXXXX";

static void wake(void *ctx, const char *key)
{
    (void)ctx;
    (void)key;
}

static void clean(void)
{
    static const char *const files[] = {"db", "db-wal", "db-shm"};
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        char path[64];
        (void)snprintf(path, sizeof path, "%s/%s", dir, files[i]);
        (void)unlink(path);
    }
    (void)rmdir(dir);
}

static void set_up(void)
{
    static char bridge[] = "svbr0";
    static char root[] = "/srv/img";
    static char *roots[] = {root};
    static struct config config = {.network = {.bridge = bridge, .subnet = {0xac1e0000, 24}, .masquerade = true},
                                   .images = {.allowed_roots = roots, .allowed_root_count = 1}};
    static struct db *worker; /* whatever lives as long as the process must be reachable */
    static struct db *db;
    static struct spec *spec;
    char path[64];
    if (mkdtemp(dir) == NULL || atexit(clean) != 0) {
        abort();
    }
    (void)snprintf(path, sizeof path, "%s/db", dir);
    if (open_ready(path, &worker, NULL) != 0 || db_open(path, DB_API, &db, NULL) != 0 || spec_load(openapi_yaml_begin, openapi_yaml_len, &spec, NULL) != 0) {
        abort();
    }
    struct api_setup setup = {spec, openapi_yaml_begin, openapi_yaml_len, db, &config, wake, NULL};
    if (api_new(&setup, &fuzzed, NULL) != 0) {
        abort();
    }
}

/* The next line of *text, terminated in place; NULL at the end. */
static char *next_line(char **text)
{
    char *line = *text;
    char *end = line == NULL ? NULL : strchr(line, '\n');
    if (end != NULL) {
        *end = '\0';
        *text = end + 1;
    } else {
        *text = NULL;
    }
    return line;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_header headers[HEADERS_MAX];
    struct api_request request = {.headers = headers, .request_id = "fuzz", .peer = "fuzz"};
    struct api_reply reply;
    if (fuzzed == NULL) {
        set_up();
    }
    AUTO_FREE char *text = malloc(size + 1);
    if (text == NULL) {
        return 0;
    }
    memcpy(text, data, size);
    text[size] = '\0';
    char *rest = text;
    char *first = next_line(&rest);
    char *target = strchr(first, ' ');
    if (target == NULL) {
        return 0;
    }
    *target = '\0';
    request.method = first;
    request.target = target + 1;
    for (char *line = next_line(&rest); line != NULL && *line != '\0'; line = next_line(&rest)) {
        char *colon = strstr(line, ": ");
        if (colon != NULL && request.header_count < HEADERS_MAX) {
            *colon = '\0';
            headers[request.header_count++] = (struct api_header){line, colon + 2};
        }
    }
    if (rest != NULL) {
        request.body = rest;
        request.body_len = size - (size_t)(rest - text);
    }
    api_handle(fuzzed, &request, &reply);
    if (reply.kind == API_REPLY_BODY && (reply.status < 200 || reply.status > 599)) {
        abort();
    }
    api_reply_free(&reply);
    return 0;
}
