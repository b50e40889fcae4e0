#include "server/config.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/limits.h"
#include "core/strbuf.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

static int read_file(const char *path, struct strbuf *text, struct error *err)
{
    AUTO_CLOSE int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return error_sys(err, ERR_INVALID_CONFIG, errno, "cannot open %s", path);
    }
    char buf[8192];
    ssize_t len = 0;
    while ((len = read(fd, buf, sizeof buf)) > 0) {
        strbuf_add_bytes(text, buf, (size_t)len);
        if (text->len > LIMIT_CONFIG_BYTES) {
            return error_set(err, ERR_INVALID_CONFIG, "%s is larger than %d bytes", path, LIMIT_CONFIG_BYTES);
        }
    }
    if (len < 0) {
        return error_sys(err, ERR_INVALID_CONFIG, errno, "cannot read %s", path);
    }
    return text->failed ? error_oom(err) : 0;
}

/* A file of nothing but comments is the default configuration. */
static bool is_blank(const char *text)
{
    const char *p = text;
    while (*p != '\0') {
        p += strspn(p, " \t\r\n");
        if (*p == '#') {
            p += strcspn(p, "\n");
        } else if (*p != '\0') {
            return false;
        }
    }
    return true;
}

static int load_document(const char *path, json_t **ret, struct error *err)
{
    AUTO_STRBUF text = STRBUF_INIT;
    if (path != NULL && read_file(path, &text, err) < 0) {
        return -1;
    }
    if (text.data == NULL || (strlen(text.data) == text.len && is_blank(text.data))) {
        *ret = json_object();
        return *ret != NULL ? 0 : error_oom(err);
    }
    if (yaml_parse(text.data, text.len, ret, err) < 0) {
        return error_prefix(err, "%s", path);
    }
    return 0;
}

/* The member to set, made on the way where it is missing; borrowed. */
static int descend(json_t *object, const char *key, size_t len, json_t **ret, struct error *err)
{
    json_t *child = json_object_getn(object, key, len);
    if (child == NULL) {
        child = json_object();
        if (child == NULL || json_object_setn_new(object, key, len, child) < 0) {
            return error_oom(err);
        }
    }
    if (!json_is_object(child)) {
        return error_set(err, ERR_INVALID_CONFIG, "--set: %.*s has no members", (int)len, key);
    }
    *ret = child;
    return 0;
}

static int parse_set_value(const char *set, const char *text, json_t **ret, struct error *err)
{
    if (*text == '\0') {
        *ret = json_string("");
        return *ret != NULL ? 0 : error_oom(err);
    }
    if (yaml_parse(text, strlen(text), ret, err) < 0) {
        return error_prefix(err, "--set %s", set);
    }
    return 0;
}

static int apply_set(json_t *document, const char *set, struct error *err)
{
    const char *equals = strchr(set, '=');
    if (equals == NULL || equals == set) {
        return error_set(err, ERR_INVALID_CONFIG, "--set %s: must be key.path=value", set);
    }
    json_t *object = document;
    const char *key = set;
    const char *end = equals;
    for (const char *dot = NULL; (dot = memchr(key, '.', (size_t)(end - key))) != NULL; key = dot + 1) {
        if (dot == key) {
            return error_set(err, ERR_INVALID_CONFIG, "--set %s: a key is empty", set);
        }
        if (descend(object, key, (size_t)(dot - key), &object, err) < 0) {
            return -1;
        }
    }
    if (key == end) {
        return error_set(err, ERR_INVALID_CONFIG, "--set %s: a key is empty", set);
    }
    json_t *value = NULL;
    if (parse_set_value(set, equals + 1, &value, err) < 0) {
        return -1;
    }
    return json_object_setn_new(object, key, (size_t)(end - key), value) == 0 ? 0 : error_oom(err);
}

/* "network.bridge: must be …", a line for each fault; the pointers are JSON pointers, people write dots. */
static int report_faults(const struct spec_faults *faults, struct error *err)
{
    AUTO_STRBUF lines = STRBUF_INIT;
    for (size_t i = 0; i < faults->count; i++) {
        const struct spec_fault *fault = &faults->items[i];
        strbuf_add(&lines, i > 0 ? "\n" : "");
        for (const char *p = fault->pointer; *p != '\0'; p++) {
            if (p != fault->pointer || *p != '/') {
                strbuf_add_char(&lines, *p == '/' ? '.' : *p);
            }
        }
        strbuf_addf(&lines, "%s%s", fault->pointer[0] != '\0' ? ": " : "the configuration ", fault->message);
    }
    if (faults->more) {
        strbuf_add(&lines, "\nand more");
    }
    return lines.failed ? error_oom(err) : error_set(err, ERR_INVALID_CONFIG, "%s", lines.data);
}

static int check_document(const struct spec *spec, const json_t *document, struct error *err)
{
    struct spec_faults faults = {0};
    int r = 0;
    if (!spec_check_component(spec, "Config", document, "body", &faults)) {
        r = report_faults(&faults, err);
    }
    spec_faults_free(&faults);
    return r;
}

static int load_with_sets(const char *path, const char *const *sets, size_t set_count, json_t **ret, struct error *err)
{
    AUTO_JSON *document = NULL;
    if (load_document(path, &document, err) < 0) {
        return -1;
    }
    for (size_t i = 0; i < set_count && json_is_object(document); i++) {
        if (apply_set(document, sets[i], err) < 0) {
            return -1;
        }
    }
    *ret = TAKE_PTR(document);
    return 0;
}

static int check_and_fill(const struct spec *spec, json_t *document, struct config **ret, struct error *err)
{
    if (check_document(spec, document, err) < 0 || spec_apply_defaults(spec, "Config", document, err) < 0) {
        return -1;
    }
    return config_fill(document, ret, err);
}

int config_load(const struct spec *spec, const char *path, const char *const *sets, size_t set_count, struct config **ret, struct error *err)
{
    AUTO_JSON *document = NULL;
    return load_with_sets(path, sets, set_count, &document, err) == 0 ? check_and_fill(spec, document, ret, err) : -1;
}

/* What says where an instance is; `member` is NULL for a key of the document itself. */
static const struct {
    const char *key, *member;
} places[] = {{"state_dir", NULL}, {"run_dir", NULL}, {"listen", NULL}, {"network", "bridge"}, {"vmm", "stage_dir"}};

/* A section that is no object is kept as it is: what is said of it then is the truth. */
static int keep_place(json_t *from, const char *key, const char *member, json_t *to)
{
    json_t *value = json_object_get(from, key);
    if (value == NULL || member == NULL || !json_is_object(value)) {
        return value == NULL || json_object_set(to, key, value) == 0 ? 0 : -1;
    }
    json_t *inner = json_object_get(value, member);
    return inner == NULL || json_object_set_new(to, key, json_pack("{s:O}", member, inner)) == 0 ? 0 : -1;
}

int config_load_places(const struct spec *spec, const char *path, const char *const *sets, size_t set_count, struct config **ret, struct error *err)
{
    AUTO_JSON *document = NULL;
    AUTO_JSON *kept = json_object();
    if (load_with_sets(path, sets, set_count, &document, err) < 0) {
        return -1;
    }
    if (!json_is_object(document)) {
        return check_document(spec, document, err);
    }
    for (size_t i = 0; i < ARRAY_LEN(places); i++) {
        if (kept == NULL || keep_place(document, places[i].key, places[i].member, kept) < 0) {
            return error_oom(err);
        }
    }
    return check_and_fill(spec, kept, ret, err);
}

int config_from_json(const char *text, size_t len, struct config **ret, struct error *err)
{
    AUTO_JSON *document = NULL;
    if (json_parse(text, len, &document, err) < 0) {
        return -1;
    }
    return config_fill(document, ret, err);
}
