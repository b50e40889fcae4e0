#include "api/vm/label_selector.h"

#include "core/json.h"

#include <ctype.h>
#include <string.h>

static int no_selector(struct error *err, const char *text)
{
    return error_set(err, ERR_INVALID_REQUEST, "'%.80s' is no label selector: key, !key, key=value, key==value, key!=value, several of them with commas", text);
}

static bool is_alphanumeric(char c)
{
    return isalnum((unsigned char)c) != 0;
}

/* As components/schemas/Labels has it: letters, digits and . _ / -, the first one of the former. */
static bool is_key(const char *key, size_t len)
{
    if (len == 0 || len > LABEL_KEY_MAX || !is_alphanumeric(key[0])) {
        return false;
    }
    for (size_t i = 0; i < len; i++) {
        if (!is_alphanumeric(key[i]) && strchr("._/-", key[i]) == NULL) {
            return false;
        }
    }
    return true;
}

/* Moves *at behind the value, to the comma or to the end. False when it is too long, or a backslash is before something else. */
static bool read_value(const char **at, char *ret)
{
    size_t len = 0;
    const char *p = *at;
    for (; *p != '\0' && *p != ','; p++) {
        if (*p == '\\') {
            p++;
            if (*p != ',' && *p != '\\') {
                return false;
            }
        }
        if (len == LABEL_VALUE_MAX) {
            return false;
        }
        ret[len++] = *p;
    }
    ret[len] = '\0';
    *at = p;
    return true;
}

/* The comparison at *at, if there is one; moves *at behind it. */
static void read_comparison(const char **at, struct label_requirement *ret)
{
    static const struct {
        const char *text;
        bool negated;
    } rows[] = {{"!=", true}, {"==", false}, {"=", false}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows && !ret->has_value; i++) {
        size_t len = strlen(rows[i].text);
        if (strncmp(*at, rows[i].text, len) == 0) {
            *at += len;
            ret->has_value = true;
            ret->negated = rows[i].negated;
        }
    }
}

static bool read_requirement(const char **at, struct label_requirement *ret)
{
    bool is_absence = **at == '!';
    *at += is_absence ? 1 : 0;
    size_t len = strcspn(*at, "=!,");
    if (!is_key(*at, len)) {
        return false;
    }
    memcpy(ret->key, *at, len);
    *at += len;
    if (is_absence) {
        ret->negated = true;
    } else {
        read_comparison(at, ret);
    }
    return (!ret->has_value || read_value(at, ret->value)) && (**at == '\0' || **at == ',');
}

int label_selector_add(struct label_selector *selector, const char *text, struct error *err)
{
    for (const char *at = text;; at++) {
        if (selector->count == LABEL_REQUIREMENTS_MAX) {
            return error_set(err, ERR_INVALID_REQUEST, "there are more than %d requirements of labels", LABEL_REQUIREMENTS_MAX);
        }
        struct label_requirement requirement = {.has_value = false};
        if (!read_requirement(&at, &requirement)) {
            return no_selector(err, text);
        }
        selector->items[selector->count++] = requirement;
        if (*at == '\0') {
            return 0;
        }
    }
}

bool label_selector_matches(const struct label_selector *selector, const json_t *labels)
{
    for (size_t i = 0; i < selector->count; i++) {
        const struct label_requirement *wanted = &selector->items[i];
        const char *value = json_get_string(labels, wanted->key);
        bool has = value != NULL && (!wanted->has_value || strcmp(value, wanted->value) == 0);
        if (has == wanted->negated) {
            return false;
        }
    }
    return true;
}
