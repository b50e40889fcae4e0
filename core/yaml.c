#include "core/json.h"

#include "core/cleanup.h"
#include "core/limits.h"

#include <stdlib.h>
#include <string.h>
#include <yaml.h>

static int read_value(yaml_parser_t *parser, const yaml_event_t *event, int depth, json_t **ret, struct error *err);

static int fault_at(const yaml_mark_t *mark, struct error *err, const char *what)
{
    return error_set(err, ERR_INVALID_CONFIG, "line %zu, column %zu: %s", mark->line + 1, mark->column + 1, what);
}

static int parser_fault(const yaml_parser_t *parser, struct error *err)
{
    if (parser->error == YAML_MEMORY_ERROR) {
        return error_oom(err);
    }
    const char *problem = parser->problem != NULL ? parser->problem : "this is not YAML";
    if (parser->error == YAML_READER_ERROR) {
        return error_set(err, ERR_INVALID_CONFIG, "byte %zu: %s", parser->problem_offset, problem);
    }
    const char *context = parser->context != NULL ? parser->context : "";
    return error_set(err, ERR_INVALID_CONFIG, "line %zu, column %zu: %s%s%s", parser->problem_mark.line + 1, parser->problem_mark.column + 1, context,
                     *context != '\0' ? ", " : "", problem);
}

static int next_event(yaml_parser_t *parser, yaml_event_t *event, struct error *err)
{
    return yaml_parser_parse(parser, event) ? 0 : parser_fault(parser, err);
}

/* The grammar of RFC 8259, section 6: "1.2.3.4" and "0700" are not numbers, and stay strings. */
static bool is_number(const char *p)
{
    static const char digits[] = "0123456789";
    p += *p == '-';
    size_t whole = strspn(p, digits);
    if (whole == 0 || (whole > 1 && *p == '0')) {
        return false;
    }
    p += whole;
    if (*p == '.') {
        size_t part = strspn(++p, digits);
        if (part == 0) {
            return false;
        }
        p += part;
    }
    if (*p == 'e' || *p == 'E') {
        p++;
        p += *p == '+' || *p == '-';
        size_t part = strspn(p, digits);
        if (part == 0) {
            return false;
        }
        p += part;
    }
    return *p == '\0';
}

static int read_number(const yaml_event_t *event, json_t **ret, struct error *err)
{
    json_error_t fault;
    json_t *number = json_loadb((const char *)event->data.scalar.value, event->data.scalar.length, JSON_DECODE_ANY, &fault);
    if (number == NULL) {
        return json_error_code(&fault) == json_error_out_of_memory ? error_oom(err) : fault_at(&event->start_mark, err, "the number is too large");
    }
    *ret = number;
    return 0;
}

static int read_scalar(const yaml_event_t *event, json_t **ret, struct error *err)
{
    const char *text = (const char *)event->data.scalar.value;
    size_t len = event->data.scalar.length;
    if (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE) {
        if (len == 0 || strcmp(text, "~") == 0 || strcmp(text, "null") == 0) {
            *ret = json_null();
            return 0;
        }
        if (strcmp(text, "true") == 0 || strcmp(text, "false") == 0) {
            *ret = json_boolean(text[0] == 't');
            return 0;
        }
        if (is_number(text)) {
            return read_number(event, ret, err);
        }
    }
    if (memchr(text, '\0', len) != NULL) {
        return fault_at(&event->start_mark, err, "a string must not hold the character \\0");
    }
    *ret = json_stringn(text, len);
    return *ret != NULL ? 0 : error_oom(err);
}

static int read_sequence(yaml_parser_t *parser, int depth, json_t **ret, struct error *err)
{
    AUTO_JSON *array = json_array();
    if (array == NULL) {
        return error_oom(err);
    }
    for (;;) {
        yaml_event_t event;
        if (next_event(parser, &event, err) < 0) {
            return -1;
        }
        if (event.type == YAML_SEQUENCE_END_EVENT) {
            yaml_event_delete(&event);
            *ret = TAKE_PTR(array);
            return 0;
        }
        json_t *item = NULL;
        int r = read_value(parser, &event, depth, &item, err);
        yaml_event_delete(&event);
        if (r < 0) {
            return -1;
        }
        if (json_array_append_new(array, item) < 0) {
            return error_oom(err);
        }
    }
}

static int read_key(const yaml_event_t *event, const json_t *object, json_t **ret, struct error *err)
{
    enum { QUOTED_KEY_MAX = 64 };
    if (event->type != YAML_SCALAR_EVENT) {
        return fault_at(&event->start_mark, err, "a key must be a string");
    }
    AUTO_JSON *key = NULL;
    if (event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL) {
        return fault_at(&event->start_mark, err, "anchors, aliases and tags are not supported");
    }
    if (read_scalar(event, &key, err) < 0) {
        return -1;
    }
    if (!json_is_string(key)) {
        return fault_at(&event->start_mark, err, "a key must be a string; put it in quotes");
    }
    if (json_object_get(object, json_string_value(key)) != NULL) {
        bool is_short = json_string_length(key) <= QUOTED_KEY_MAX;
        return error_set(err, ERR_INVALID_CONFIG, "line %zu, column %zu: the key %s%sis there twice", event->start_mark.line + 1, event->start_mark.column + 1,
                         is_short ? json_string_value(key) : "", is_short ? " " : "");
    }
    *ret = TAKE_PTR(key);
    return 0;
}

static int read_member(yaml_parser_t *parser, const yaml_event_t *key_event, int depth, json_t *object, struct error *err)
{
    AUTO_JSON *key = NULL;
    if (read_key(key_event, object, &key, err) < 0) {
        return -1;
    }
    yaml_event_t event;
    if (next_event(parser, &event, err) < 0) {
        return -1;
    }
    json_t *value = NULL;
    int r = read_value(parser, &event, depth, &value, err);
    yaml_event_delete(&event);
    if (r < 0) {
        return -1;
    }
    return json_object_set_new(object, json_string_value(key), value) < 0 ? error_oom(err) : 0;
}

static int read_mapping(yaml_parser_t *parser, int depth, json_t **ret, struct error *err)
{
    AUTO_JSON *object = json_object();
    if (object == NULL) {
        return error_oom(err);
    }
    for (;;) {
        yaml_event_t event;
        if (next_event(parser, &event, err) < 0) {
            return -1;
        }
        bool ended = event.type == YAML_MAPPING_END_EVENT;
        int r = ended ? 0 : read_member(parser, &event, depth, object, err);
        yaml_event_delete(&event);
        if (r < 0) {
            return -1;
        }
        if (ended) {
            *ret = TAKE_PTR(object);
            return 0;
        }
    }
}

static bool is_marked(const yaml_event_t *event)
{
    switch ((int)event->type) {
    case YAML_SCALAR_EVENT:
        return event->data.scalar.anchor != NULL || event->data.scalar.tag != NULL;
    case YAML_SEQUENCE_START_EVENT:
        return event->data.sequence_start.anchor != NULL || event->data.sequence_start.tag != NULL;
    case YAML_MAPPING_START_EVENT:
        return event->data.mapping_start.anchor != NULL || event->data.mapping_start.tag != NULL;
    default:
        return event->type == YAML_ALIAS_EVENT;
    }
}

/* `depth` counts the sequences and mappings around the value. */
static int read_value(yaml_parser_t *parser, const yaml_event_t *event, int depth, json_t **ret, struct error *err)
{
    if (is_marked(event)) {
        return fault_at(&event->start_mark, err, "anchors, aliases and tags are not supported");
    }
    if (event->type == YAML_SCALAR_EVENT) {
        return read_scalar(event, ret, err);
    }
    if (depth == LIMIT_JSON_DEPTH) {
        return error_set(err, ERR_INVALID_CONFIG, "line %zu, column %zu: nested deeper than %d levels", event->start_mark.line + 1,
                         event->start_mark.column + 1, LIMIT_JSON_DEPTH);
    }
    return event->type == YAML_SEQUENCE_START_EVENT ? read_sequence(parser, depth + 1, ret, err) : read_mapping(parser, depth + 1, ret, err);
}

/* The events around the values: each must be the one that is expected, or the text has more than one
 * document. */
static int expect(yaml_parser_t *parser, yaml_event_type_t type, const char *otherwise, struct error *err)
{
    yaml_event_t event;
    if (next_event(parser, &event, err) < 0) {
        return -1;
    }
    int r = event.type == type ? 0 : fault_at(&event.start_mark, err, otherwise);
    yaml_event_delete(&event);
    return r;
}

static int read_stream(yaml_parser_t *parser, json_t **ret, struct error *err)
{
    yaml_event_t event;
    if (expect(parser, YAML_STREAM_START_EVENT, "no stream", err) < 0 || expect(parser, YAML_DOCUMENT_START_EVENT, "there is no document", err) < 0 ||
        next_event(parser, &event, err) < 0) {
        return -1;
    }
    AUTO_JSON *value = NULL;
    int r = read_value(parser, &event, 0, &value, err);
    yaml_event_delete(&event);
    if (r < 0 || expect(parser, YAML_DOCUMENT_END_EVENT, "the document does not end", err) < 0 ||
        expect(parser, YAML_STREAM_END_EVENT, "there is more than one document", err) < 0) {
        return -1;
    }
    *ret = TAKE_PTR(value);
    return 0;
}

int yaml_parse(const char *text, size_t len, json_t **ret, struct error *err)
{
    yaml_parser_t parser;
    if (!yaml_parser_initialize(&parser)) {
        return error_oom(err);
    }
    /* Without this a byte order mark could turn the text into UTF-16. */
    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (const unsigned char *)text, len);
    int r = read_stream(&parser, ret, err);
    yaml_parser_delete(&parser);
    return r;
}
