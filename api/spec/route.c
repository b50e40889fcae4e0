/* Path templates, and which one a request is for. */
#include "api/spec/internal.h"

#include "core/cleanup.h"

#include <stdlib.h>
#include <string.h>

static int parse_segment(char *text, struct segment *segment, const struct place *at, struct error *err)
{
    size_t len = strlen(text);
    segment->is_parameter = len > 2 && text[0] == '{' && text[len - 1] == '}';
    if (segment->is_parameter) {
        text[len - 1] = '\0';
        text++;
    }
    segment->text = text;
    if (strpbrk(text, "{}%?#") != NULL) {
        return place_error(err, at, "a segment must be plain text, or one {name} as a whole");
    }
    return 0;
}

/* "/" is one empty segment, as it is when a request's path is split. */
int path_parse(struct path *path, const char *template, const struct place *at, struct error *err)
{
    size_t parameters = 0;
    if (template[0] != '/') {
        return place_error(err, at, "a path must begin with /");
    }
    path->template = template;
    path->storage = strdup(template + 1);
    if (path->storage == NULL) {
        return error_oom(err);
    }
    for (char *rest = path->storage; rest != NULL;) {
        char *text = strsep(&rest, "/");
        if (path->segment_count == LIMIT_PATH_SEGMENTS) {
            return place_error(err, at, "a path has at most %d segments", LIMIT_PATH_SEGMENTS);
        }
        if (*text == '\0' && template[1] != '\0') {
            return place_error(err, at, "a segment must not be empty");
        }
        struct segment *segment = &path->segments[path->segment_count++];
        if (parse_segment(text, segment, at, err) < 0) {
            return -1;
        }
        parameters += segment->is_parameter;
    }
    return parameters <= SPEC_PATH_PARAMETERS_MAX ? 0 : place_error(err, at, "a path has at most %d parameters", (int)SPEC_PATH_PARAMETERS_MAX);
}

/* Plain text before a parameter, from the left; so the first path that matches is the one that says most. */
static int compare_paths(const void *a, const void *b)
{
    const struct path *left = a;
    const struct path *right = b;
    if (left->segment_count != right->segment_count) {
        return left->segment_count < right->segment_count ? -1 : 1;
    }
    for (size_t i = 0; i < left->segment_count; i++) {
        const struct segment *l = &left->segments[i];
        const struct segment *r = &right->segments[i];
        int order = l->is_parameter || r->is_parameter ? l->is_parameter - r->is_parameter : strcmp(l->text, r->text);
        if (order != 0) {
            return order;
        }
    }
    return 0;
}

int paths_sort(struct spec *spec, struct error *err)
{
    qsort(spec->paths, spec->path_count, sizeof *spec->paths, compare_paths);
    for (size_t i = 1; i < spec->path_count; i++) {
        if (compare_paths(&spec->paths[i - 1], &spec->paths[i]) == 0) {
            return error_set(err, ERR_INTERNAL, "API description: the paths %s and %s match the same", spec->paths[i - 1].template, spec->paths[i].template);
        }
    }
    return 0;
}

static bool matches(const struct path *path, const char *const *segments)
{
    for (size_t i = 0; i < path->segment_count; i++) {
        const struct segment *segment = &path->segments[i];
        if (segment->is_parameter ? segments[i][0] == '\0' : strcmp(segment->text, segments[i]) != 0) {
            return false;
        }
    }
    return true;
}

static const struct path *find_path(const struct spec *spec, const char *const *segments, size_t count)
{
    for (size_t i = 0; i < spec->path_count; i++) {
        const struct path *path = &spec->paths[i];
        if (path->segment_count == count && matches(path, segments)) {
            return path;
        }
    }
    return NULL;
}

static const struct operation *find_operation(const struct path *path, const char *method)
{
    const char *wanted = strcmp(method, "HEAD") == 0 ? "GET" : method;
    for (size_t i = 0; i < METHOD_COUNT; i++) {
        if (path->operations[i] != NULL && strcmp(path->operations[i]->facts.method, wanted) == 0) {
            return path->operations[i];
        }
    }
    return NULL;
}

enum spec_route_result spec_find(const struct spec *spec, const char *method, const char *const *segments, size_t count, struct spec_route *ret)
{
    static const char *const root[] = {""};
    const struct path *path = count == 0 ? find_path(spec, root, 1) : find_path(spec, segments, count);
    *ret = (struct spec_route){0};
    if (path == NULL) {
        return SPEC_ROUTE_NO_PATH;
    }
    const struct operation *operation = find_operation(path, method);
    if (operation == NULL) {
        memcpy(ret->allow, path->allow, sizeof ret->allow);
        return SPEC_ROUTE_NO_METHOD;
    }
    ret->operation = &operation->facts;
    for (size_t i = 0; i < path->segment_count; i++) {
        if (path->segments[i].is_parameter) {
            ret->path_parameters[ret->path_parameter_count++] = (struct spec_name_value){path->segments[i].text, segments[i]};
        }
    }
    return SPEC_ROUTE_FOUND;
}
