#include "api/event_filter.h"

#include "core/cleanup.h"
#include "core/json.h"
#include "core/strbuf.h"

#include <string.h>

/* The path of a resource, by the word before its id. What there is one of has no id. */
static const struct {
    const char *word;
    const char *path;
    bool has_id;
} kinds[] = {
    {"vm", "/vms", true}, {"image", "/images", true}, {"network", "/network", false}, {"firewall", "/firewall", false}, {"drift", "/drift", false},
};

static const char lower[] = "abcdefghijklmnopqrstuvwxyz";

/* Words with dots between them; the last one may be "*". */
static char *read_type(const char *text)
{
    const char *at = text;
    for (;;) {
        if (strcmp(at, "*") == 0) {
            return strdup(text);
        }
        size_t len = strspn(at, lower) > 0 ? strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_") : 0;
        if (len == 0 || (at[len] != '.' && at[len] != '\0')) {
            return NULL;
        }
        if (at[len] == '\0') {
            return strdup(text);
        }
        at += len + 1;
    }
}

/* What an id may be made of, with a "*" at its end. */
static bool is_id(const char *id)
{
    size_t len = strspn(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-");
    return id[0] != '\0' && (id[len] == '\0' || strcmp(id + len, "*") == 0);
}

/* "vm/web" and "/vms/web" are the same. */
static char *read_resource(const char *text)
{
    for (size_t i = 0; i < ARRAY_LEN(kinds); i++) {
        const char *name = text[0] == '/' ? kinds[i].path : kinds[i].word;
        size_t len = strlen(name);
        if (strncmp(text, name, len) != 0 || (text[len] != '\0' && text[len] != '/')) {
            continue;
        }
        AUTO_STRBUF path = STRBUF_INIT;
        strbuf_add(&path, kinds[i].path);
        if (kinds[i].has_id && (text[len] == '\0' || !is_id(text + len + 1))) {
            return NULL;
        }
        if (!kinds[i].has_id && text[len] != '\0') {
            return NULL;
        }
        strbuf_add(&path, text + len);
        return strbuf_take(&path);
    }
    return strcmp(text, "*") == 0 ? strdup("*") : NULL;
}

static void read_all(struct call *call, const char *parameter, char *(*read)(const char *text), const char *words, char **ret, size_t *ret_count)
{
    size_t i = 0;
    json_t *item = NULL;
    json_array_foreach(json_object_get(call->parameters, parameter), i, item)
    {
        char *value = *ret_count < EVENT_FILTERS_MAX ? read(json_string_value(item)) : NULL;
        if (value == NULL) {
            spec_faults_add(&call->faults, "query", parameter, "'%.80s' is not %s", json_string_value(item), words);
            continue;
        }
        ret[(*ret_count)++] = value;
    }
}

void event_filter_read(struct call *call, struct event_filter *ret)
{
    read_all(call, "type", read_type, "a type of events such as vm.state, or vm.* for all that begin so", ret->types, &ret->type_count);
    read_all(call, "resource", read_resource, "a resource such as vm/web, vm/web-*, image/base, network or firewall", ret->resources, &ret->resource_count);
}

/* Any of them; none at all means no limit. */
static bool matches_any(char *const *patterns, size_t count, const char *text)
{
    for (size_t i = 0; i < count; i++) {
        size_t len = strlen(patterns[i]);
        bool wild = len > 0 && patterns[i][len - 1] == '*';
        if (wild ? strncmp(text, patterns[i], len - 1) == 0 : strcmp(text, patterns[i]) == 0) {
            return true;
        }
    }
    return count == 0;
}

bool event_filter_matches(const struct event_filter *filter, const struct event_row *event)
{
    return matches_any(filter->types, filter->type_count, event->type) && matches_any(filter->resources, filter->resource_count, event->resource);
}

void event_filter_free(struct event_filter *filter)
{
    for (size_t i = 0; i < EVENT_FILTERS_MAX; i++) {
        free(filter->types[i]);
        free(filter->resources[i]);
    }
    *filter = (struct event_filter){.type_count = 0};
}
