#include "api/image/json.h"

#include "api/json_out.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "core/kernel_args.h"

#include <stdio.h>
#include <string.h>

/* Adds members of an object as they are, in this order; null for what is not there. */
static void add_members(struct strbuf *b, const json_t *object, const char *const *names, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const json_t *value = json_object_get(object, names[i]);
        AUTO_FREE char *text = value != NULL ? json_text(value) : NULL;
        strbuf_add_char(b, ',');
        json_out_string(b, names[i]);
        strbuf_add_char(b, ':');
        strbuf_add(b, text != NULL ? text : "null");
        b->failed = b->failed || (value != NULL && text == NULL);
    }
}

/* What the manifest says of a file, and what the import found. */
static void add_file(struct strbuf *b, const char *name, const json_t *manifest, const json_t *observed)
{
    static const char *const given[] = {"file_name"};
    static const char *const found[] = {"sha256", "source_sha256", "size_bytes"};
    const json_t *file = json_object_get(manifest, name);
    if (file == NULL) {
        strbuf_addf(b, ",\"%s\":null", name);
        return;
    }
    strbuf_addf(b, ",\"%s\":{\"source_path\":", name);
    json_out_string(b, json_get_string(file, "path"));
    add_members(b, file, given, ARRAY_LEN(given));
    add_members(b, json_object_get(observed, name), found, ARRAY_LEN(found));
    strbuf_add_char(b, '}');
}

static void add_progress(struct strbuf *b, const json_t *observed)
{
    const json_t *progress = json_object_get(observed, "progress");
    strbuf_add(b, ",\"progress\":{\"bytes_done\":");
    json_out_int(b, json_get_int(progress, "bytes_done", 0));
    strbuf_add(b, ",\"bytes_total\":");
    json_out_int(b, json_get_int(progress, "bytes_total", 0));
    strbuf_add_char(b, '}');
}

struct warnings {
    struct strbuf *b;
    size_t count;
};

static void add_left_out(void *ctx, const char *sentence)
{
    struct warnings *warnings = ctx;
    char text[320];
    (void)snprintf(text, sizeof text, "boot_args: an argument is left out: %s", sentence);
    strbuf_add(warnings->b, warnings->count++ > 0 ? "," : "");
    json_out_string(warnings->b, text);
}

/* What of the manifest is not done as it is written. */
static void add_warnings(struct strbuf *b, const json_t *manifest)
{
    const char *args = json_get_string(manifest, "boot_args");
    struct warnings warnings = {.b = b};
    strbuf_add(b, ",\"warnings\":[");
    if (args != NULL) {
        kernel_args_reserved(args, true, json_get_bool(manifest, "rootfs_is_read_only", false), add_left_out, &warnings);
    }
    strbuf_add_char(b, ']');
}

static int parse(const struct image_row *row, const char *text, json_t **ret, struct error *err)
{
    if (json_parse(text, strlen(text), ret, NULL) != 0) {
        return error_set(err, ERR_DATABASE, "what is stored of image '%s' is damaged", row->id);
    }
    return 0;
}

int image_json(const struct image_row *row, struct strbuf *b, struct error *err)
{
    static const char *const plain[] = {"name", "arch", "firecracker_version", "rootfs_type", "rootfs_is_read_only", "boot_args"};
    static const char *const failure[] = {"error"};
    AUTO_JSON *manifest = NULL;
    AUTO_JSON *observed = NULL;
    if (parse(row, row->manifest, &manifest, err) != 0 || parse(row, row->observed != NULL ? row->observed : "{}", &observed, err) != 0) {
        return -1;
    }
    strbuf_add(b, "{\"id\":");
    json_out_string(b, row->id);
    strbuf_add(b, ",\"state\":");
    json_out_string(b, image_state_name(row->state));
    add_members(b, manifest, plain, ARRAY_LEN(plain));
    add_warnings(b, manifest);
    add_file(b, "kernel", manifest, observed);
    add_file(b, "rootfs", manifest, observed);
    add_file(b, "initrd", manifest, observed);
    add_progress(b, observed);
    add_members(b, observed, failure, ARRAY_LEN(failure));
    strbuf_add(b, ",\"created_at\":");
    json_out_time(b, row->created_ms);
    strbuf_add(b, ",\"updated_at\":");
    json_out_time(b, row->updated_ms);
    strbuf_add_char(b, '}');
    return 0;
}
