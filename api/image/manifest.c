#include "api/image/manifest.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/kernel_args.h"
#include "core/limits.h"

#include <stdio.h>
#include <string.h>

static const struct {
    const char *camel;
    const char *snake;
} spellings[] = {
    {"schemaVersion", "schema_version"},
    {"bundleId", "bundle_id"},
    {"firecrackerVersion", "firecracker_version"},
    {"rootfsType", "rootfs_type"},
    {"rootfsIsReadOnly", "rootfs_is_read_only"},
    {"bootArgs", "boot_args"},
    {"sizeBytes", "size_bytes"},
    {"fileName", "file_name"},
};

static const char *const files[] = {"kernel", "rootfs", "initrd"};

static const char *snake_name(const char *name)
{
    for (size_t i = 0; i < ARRAY_LEN(spellings); i++) {
        if (strcmp(spellings[i].camel, name) == 0) {
            return spellings[i].snake;
        }
    }
    return name;
}

/* A copy of an object under the names of the schema; `pointer` is where it stands. NULL when out of memory.
 */
static json_t *map_names(const json_t *object, const char *pointer, struct spec_faults *faults)
{
    AUTO_JSON *copy = json_object();
    for (void *at = json_object_iter((json_t *)(uintptr_t)object); at != NULL; at = json_object_iter_next((json_t *)(uintptr_t)object, at)) {
        const char *name = json_object_iter_key(at);
        const char *snake = snake_name(name);
        if (snake != name && json_object_get(object, snake) != NULL) {
            char where[SPEC_POINTER_MAX];
            (void)snprintf(where, sizeof where, "%s/%s", pointer, name);
            spec_faults_add(faults, "body", where, "is given as %s too", snake);
        } else if (json_object_set(copy, snake, json_object_iter_value(at)) != 0) {
            return NULL;
        }
    }
    return TAKE_PTR(copy);
}

static json_t *map_manifest(const json_t *manifest, struct spec_faults *faults)
{
    AUTO_JSON *copy = map_names(manifest, "", faults);
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        const json_t *file = json_object_get(copy, files[i]);
        if (json_is_object(file)) {
            char pointer[16];
            (void)snprintf(pointer, sizeof pointer, "/%s", files[i]);
            json_t *mapped = map_names(file, pointer, faults);
            if (mapped == NULL || json_object_set_new(copy, files[i], mapped) != 0) {
                return NULL;
            }
        }
    }
    return TAKE_PTR(copy);
}

/* Compares component by component; empty ones and "." count for nothing. */
static bool is_below(const char *path, const char *root)
{
    for (;;) {
        path += strspn(path, "/");
        root += strspn(root, "/");
        size_t path_len = strcspn(path, "/");
        size_t root_len = strcspn(root, "/");
        if (path_len == 1 && path[0] == '.') {
            path++;
        } else if (root_len == 1 && root[0] == '.') {
            root++;
        } else if (root_len == 0) {
            return path_len > 0;
        } else if (path_len != root_len || memcmp(path, root, path_len) != 0) {
            return false;
        } else {
            path += path_len;
            root += root_len;
        }
    }
}

static bool has_parent_component(const char *path)
{
    while (*path != '\0') {
        path += strspn(path, "/");
        size_t len = strcspn(path, "/");
        if (len == 2 && path[0] == '.' && path[1] == '.') {
            return true;
        }
        path += len;
    }
    return false;
}

/* As many roots as there is room for. */
static void name_roots(const struct config *config, char *buf)
{
    size_t count = config->images.allowed_root_count;
    size_t len = (size_t)snprintf(buf, MANIFEST_FAULT_MAX, "must lie below a directory of images.allowed_roots, %s",
                                  count == 0   ? "which is empty"
                                  : count == 1 ? "which has just "
                                               : "which are ");
    for (size_t i = 0; i < count && len < MANIFEST_FAULT_MAX; i++) {
        len += (size_t)snprintf(buf + len, MANIFEST_FAULT_MAX - len, "%s%s", i > 0 ? ", " : "", config->images.allowed_roots[i]);
    }
    if (len >= MANIFEST_FAULT_MAX) {
        memcpy(buf + MANIFEST_FAULT_MAX - 4, "...", 4);
    }
}

bool manifest_path_fault(const struct config *config, const char *path, char buf[MANIFEST_FAULT_MAX])
{
    if (path[0] != '/') {
        (void)snprintf(buf, MANIFEST_FAULT_MAX, "must be an absolute path");
        return true;
    }
    if (has_parent_component(path)) {
        (void)snprintf(buf, MANIFEST_FAULT_MAX, "must not have the component '..'");
        return true;
    }
    for (size_t i = 0; i < config->images.allowed_root_count; i++) {
        if (is_below(path, config->images.allowed_roots[i])) {
            return false;
        }
    }
    name_roots(config, buf);
    return true;
}

/* A bundle's paths are told from where its manifest lies, so that it can be moved. */
static int make_absolute(json_t *file, const char *base, struct error *err)
{
    const char *path = json_get_string(file, "path");
    if (path == NULL || path[0] == '/' || path[0] == '\0') {
        return 0;
    }
    return json_object_set_new(file, "path", json_sprintf("%s/%s", base, path)) == 0 ? 0 : error_oom(err);
}

static void check_path(const struct config *config, const char *name, const char *path, struct spec_faults *faults)
{
    char pointer[32];
    char fault[MANIFEST_FAULT_MAX];
    (void)snprintf(pointer, sizeof pointer, "/%s/path", name);
    if (path[0] != '/') {
        spec_faults_add(faults, "body", pointer, "must be an absolute path: just a manifest that lies on the host (manifest_path) has relative ones");
    } else if (strlen(path) >= LIMIT_PATH_BYTES) {
        spec_faults_add(faults, "body", pointer, "must have less than %d bytes, with the directory of the manifest before it", LIMIT_PATH_BYTES);
    } else if (manifest_path_fault(config, path, fault)) {
        spec_faults_add(faults, "body", pointer, "%s", fault);
    }
}

static int check_paths(const struct config *config, const json_t *manifest, const char *base, struct spec_faults *faults, struct error *err)
{
    for (size_t i = 0; i < ARRAY_LEN(files); i++) {
        json_t *file = json_object_get(manifest, files[i]);
        if (base != NULL && make_absolute(file, base, err) != 0) {
            return -1;
        }
        const char *path = json_get_string(file, "path");
        if (path != NULL) {
            check_path(config, files[i], path, faults);
        }
    }
    return 0;
}

/* Not what a kernel understands; what the daemon gives itself is left out when a VM boots (core/kernel_args.h). */
static void check_boot_args(const json_t *manifest, struct spec_faults *faults)
{
    const char *args = json_get_string(manifest, "boot_args");
    if (args != NULL && !kernel_args_quotes_match(args)) {
        spec_faults_add(faults, "body", "/boot_args", "has a quote that is not closed");
    }
}

int manifest_check(const struct spec *spec, const struct config *config, const json_t *manifest, const char *base, json_t **ret, struct manifest_faults *faults,
                   struct error *err)
{
    struct spec_faults *found = &faults->faults;
    AUTO_JSON *mapped = map_manifest(manifest, found);
    if (mapped == NULL) {
        return error_oom(err);
    }
    spec_drop_component_nulls(spec, "Manifest", mapped);
    (void)spec_check_component(spec, "Manifest", mapped, "body", found);
    check_boot_args(mapped, found);
    size_t before = found->count;
    if (check_paths(config, mapped, base, found, err) != 0) {
        return -1;
    }
    faults->only_paths = before == 0 && found->count > 0;
    if (found->count > 0 || found->more) {
        *ret = NULL;
        return 0;
    }
    if (spec_apply_defaults(spec, "Manifest", mapped, err) != 0) {
        return -1;
    }
    *ret = TAKE_PTR(mapped);
    return 0;
}
