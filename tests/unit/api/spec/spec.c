#include "api/spec/spec.h"
#include "core/cleanup.h"
#include "core/json.h"
#include "core/limits.h"
#include "core/strbuf.h"

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int load(const char *text, struct spec **ret, struct error *err)
{
    return spec_load(text, strlen(text), ret, err);
}

/* A document with components/schemas/X as given (one line of YAML), and others that it may refer to. */
static int load_schema(const char *schema, struct spec **ret, struct error *err)
{
    AUTO_STRBUF text = STRBUF_INIT;
    strbuf_addf(&text,
                "openapi: 3.1.0\npaths: {}\ncomponents:\n  schemas:\n"
                "    Name: {type: string, minLength: 1, maxLength: 8, pattern: '^[a-z]+$'}\n"
                "    Tree: {type: object, additionalProperties: false, properties: {name: {$ref: "
                "'#/components/schemas/Name'}, children: {type: array, items: {$ref: "
                "'#/components/schemas/Tree'}}}}\n"
                "    Shape: {oneOf: [{$ref: '#/components/schemas/Circle'}, {$ref: '#/components/schemas/Square'}]}\n"
                "    Circle: {type: object, required: [kind, r], additionalProperties: false, properties: "
                "{kind: {const: circle}, r: {type: number, exclusiveMinimum: 0}}}\n"
                "    Square: {type: object, required: [kind, a], additionalProperties: false, properties: "
                "{kind: {enum: [square, box]}, a: {type: integer, minimum: 1}}}\n"
                "    X: %s\n",
                schema);
    return load(text.data, ret, err);
}

/* Every fault on a line: "pointer message". */
static char *faults_of(const char *schema, const char *json)
{
    struct spec *spec = NULL;
    struct error err = {0};
    struct spec_faults faults = {0};
    AUTO_JSON *value = NULL;
    struct strbuf out = STRBUF_INIT;
    ck_assert_msg(load_schema(schema, &spec, &err) == 0, "%s: %s", schema, err.message);
    ck_assert_msg(json_parse(json, strlen(json), &value, &err) == 0, "%s: %s", json, err.message);
    bool fits = spec_check_component(spec, "X", value, "body", &faults);
    ck_assert_int_eq(fits, faults.count == 0);
    for (size_t i = 0; i < faults.count; i++) {
        ck_assert_str_eq(faults.items[i].in, "body");
        strbuf_addf(&out, "%s%s %s", i > 0 ? "\n" : "", faults.items[i].pointer, faults.items[i].message);
    }
    spec_faults_free(&faults);
    spec_free(spec);
    return strbuf_take(&out);
}

static const struct {
    const char *schema;
    const char *json;
    const char *faults; /* "" when it fits */
} rows[] = {
    {"{}", "{\"a\": [1, null]}", ""},
    {"true", "5", ""},
    {"false", "5", " is not allowed"},

    {"{type: object}", "{}", ""},
    {"{type: object}", "[]", " must be an object"},
    {"{type: array}", "{}", " must be an array"},
    {"{type: string}", "5", " must be a string"},
    {"{type: boolean}", "true", ""},
    {"{type: boolean}", "\"true\"", " must be true or false"},
    {"{type: 'null'}", "null", ""},
    {"{type: integer}", "5", ""},
    {"{type: integer}", "5.0", ""},
    {"{type: integer}", "5e3", ""},
    {"{type: integer}", "5.5", " must be an integer"},
    {"{type: integer}", "1e300", " must be an integer"},
    {"{type: integer}", "9223372036854775808.0", " must be an integer"},
    {"{type: integer}", "\"5\"", " must be an integer"},
    {"{type: integer}", "null", " must be an integer"},
    {"{type: number}", "5", ""},
    {"{type: number}", "5.5", ""},
    {"{type: number}", "true", " must be a number"},
    {"{type: [string, 'null']}", "null", ""},
    {"{type: [string, 'null']}", "false", " must be a string or null"},

    {"{enum: [a, b, 3, null]}", "\"b\"", ""},
    {"{enum: [a, b, 3, null]}", "3.0", ""},
    {"{enum: [a, b, 3, null]}", "null", ""},
    {"{enum: [a, b, 3, null]}", "\"3\"", " must be one of \"a\", \"b\", 3, null"},
    {"{enum: [a]}", "\"A\"", " must be \"a\""},
    {"{const: 1}", "1.0", ""},
    {"{const: 1}", "true", " must be 1"},
    {"{const: {a: [1, {b: 2}]}}", "{\"a\": [1.0, {\"b\": 2}]}", ""},
    {"{const: {a: [1, {b: 2}]}}", "{\"a\": [1, {\"b\": 3}]}", " must be {\"a\":[1,{\"b\":2}]}"},
    {"{const: [1]}", "[1, 1]", " must be [1]"},
    {"{const: {a: 1}}", "{\"a\": 1, \"b\": 2}", " must be {\"a\":1}"},
    {"{const: null}", "0", " must be null"},

    {"{minimum: 1, maximum: 32}", "1", ""},
    {"{minimum: 1, maximum: 32}", "32", ""},
    {"{minimum: 1, maximum: 32}", "0", " must be at least 1"},
    {"{minimum: 1, maximum: 32}", "33", " must be at most 32"},
    {"{minimum: 1, maximum: 32}", "32.5", " must be at most 32"},
    {"{minimum: 1.5}", "1", " must be at least 1.5"},
    {"{minimum: 1}", "\"\"", ""},
    {"{maximum: 9223372036854775806}", "9223372036854775807", " must be at most 9223372036854775806"},
    {"{minimum: -9223372036854775807}", "-9223372036854775808", " must be at least -9223372036854775807"},
    {"{maximum: 10}", "1e300", " must be at most 10"},
    {"{exclusiveMinimum: 0}", "1e-300", ""},
    {"{exclusiveMinimum: 0}", "0", " must be more than 0"},
    {"{exclusiveMinimum: 0}", "-0.0", " must be more than 0"},
    {"{exclusiveMaximum: 3}", "3", " must be less than 3"},
    {"{exclusiveMaximum: 3}", "2.9", ""},
    {"{multipleOf: 2}", "-4", ""},
    {"{multipleOf: 2}", "3", " must be a multiple of 2"},
    {"{multipleOf: 2}", "3.0", " must be a multiple of 2"},
    {"{multipleOf: 0.5}", "2.5", ""},
    {"{multipleOf: 0.5}", "2.7", " must be a multiple of 0.5"},
    {"{multipleOf: 0.5}", "1e300", ""},
    {"{multipleOf: 1}", "-9223372036854775808", ""},

    {"{minLength: 1}", "\"\"", " must have at least 1 character"},
    {"{minLength: 2}", "\"a\"", " must have at least 2 characters"},
    {"{minLength: 9, maxLength: 18, x-says: 'a network such as 10.0.0.0/8'}", "\"10.0.0.0\"", " must be a network such as 10.0.0.0/8"},
    {"{minLength: 1, maxLength: 3, pattern: '^[a-z]+$', x-says: 'up to 3 letters'}", "\"A\"", " must be up to 3 letters"},
    {"{maxLength: 3, pattern: '^[a-z]+$', x-says: 'up to 3 letters'}", "\"abcd\"", " must be up to 3 letters"},
    {"{maxLength: 3, pattern: '^[a-z]+$', x-says: 'up to 3 letters'}", "\"abc\"", ""},
    {"{type: object, propertyNames: {maxLength: 1, x-says: 'a letter'}}", "{\"ab\":1}", "/ab has a name that must be a letter"},
    {"{maxLength: 2}", "\"\\u00e4\\ud83d\\ude00\"", ""},
    {"{maxLength: 2}", "\"abc\"", " must have at most 2 characters"},
    {"{maxLength: 0}", "\"\"", ""},
    {"{pattern: '^[a-z]+$'}", "\"abc\"", ""},
    {"{pattern: '^[a-z]+$'}", "\"abc\\n\"", " must match ^[a-z]+$"},
    {"{pattern: '^[a-z]+$'}", "\"ab\\nc\"", " must match ^[a-z]+$"},
    {"{pattern: 'b'}", "\"abc\"", ""},
    {"{pattern: '^[a-z]+$'}", "5", ""},
    {"{pattern: '^a\\.b$'}", "\"axb\"", " must match ^a\\.b$"},
    {"{pattern: '^a\\.b$'}", "\"a.b\"", ""},
    {"{maxLength: 3, pattern: '^[a-z]+$'}", "\"ABCD\"", " must have at most 3 characters"},

    {"{items: {type: integer}}", "[1, 2]", ""},
    {"{items: {type: integer}}", "[1, \"a\", 2, null]", "/1 must be an integer\n/3 must be an integer"},
    {"{minItems: 1, maxItems: 2}", "[]", " must have at least 1 item"},
    {"{minItems: 1, maxItems: 2}", "[1, 2, 3]", " must have at most 2 items"},
    {"{uniqueItems: true, maxItems: 5}", "[1, 2, \"1\", [1], {}]", ""},
    {"{uniqueItems: true, maxItems: 5}", "[1, 2, 1.0]", "/2 is the same as item 0"},
    {"{uniqueItems: true, maxItems: 5}", "[{\"a\": 1, \"b\": 2}, {\"b\": 2, \"a\": 1}]", "/1 is the same as item 0"},
    {"{uniqueItems: false}", "[1, 1]", ""},

    {"{required: [a]}", "{\"a\": null}", ""},
    {"{required: [a, b]}", "{}", "/a is required\n/b is required"},
    {"{required: [a]}", "[]", ""},
    {"{properties: {a: {type: string}, b: true}, required: [a, a]}", "{\"a\": \"x\", \"c\": 1}", ""},
    {"{properties: {a: {type: string}}, additionalProperties: false}", "{\"b\": 1, \"a\": 2}", "/b is not a known field\n/a must be a string"},
    {"{properties: {a: {}}, additionalProperties: {type: string}}", "{\"a\": 1, \"b\": 2}", "/b must be a string"},
    {"{additionalProperties: false}", "{}", ""},
    {"{properties: {ab: {type: string}, b: {type: integer}, c: {type: boolean}, abc: {type: array}}}", "{\"ab\": 1, \"b\": 1, \"c\": 1, \"abc\": 1}",
     "/ab must be a string\n/c must be true or false\n/abc must be an array"},
    {"{minProperties: 1, maxProperties: 2}", "{}", " must have at least 1 member"},
    {"{minProperties: 1, maxProperties: 2}", "{\"a\": 1, \"b\": 2, \"c\": 3}", " must have at most 2 members"},
    {"{propertyNames: {maxLength: 2, pattern: '^[a-z]*$'}}", "{\"ab\": 1}", ""},
    {"{propertyNames: {maxLength: 2, pattern: '^[a-z]*$'}}", "{\"abc\": 1, \"A\": 2}",
     "/abc has a name that must have at most 2 characters\n/A has a name that must match ^[a-z]*$"},
    {"{propertyNames: {$ref: '#/components/schemas/Name'}}", "{\"a1\": 1}", "/a1 has a name that must match ^[a-z]+$"},

    {"{properties: {'a/b': {type: string}, 'm~n': {type: string}}}", "{\"a/b\": 1, \"m~n\": [], \"\": 0}", "/a~1b must be a string\n/m~0n must be a string"},
    {"{properties: {'': {type: string}}}", "{\"\": 1}", "/ must be a string"},
    {"{properties: {a: {items: {properties: {b: {minimum: 1}}}}}}", "{\"a\": [{}, {\"b\": 0}]}", "/a/1/b must be at least 1"},

    {"{$ref: '#/components/schemas/Name'}", "\"abc\"", ""},
    {"{$ref: '#/components/schemas/Name'}", "\"A\"", " must match ^[a-z]+$"},
    {"{$ref: '#/components/schemas/Name', maxLength: 2}", "\"abc\"", " must have at most 2 characters"},
    {"{$ref: '#/components/schemas/Tree'}", "{\"name\": \"a\", \"children\": [{\"children\": [{\"name\": \"b\"}]}]}", ""},
    {"{$ref: '#/components/schemas/Tree'}", "{\"children\": [{\"children\": [{\"name\": 5}], \"x\": 1}]}",
     "/children/0/children/0/name must be a string\n/children/0/x is not a known field"},

    {"{allOf: [{minimum: 1}, {maximum: 5}]}", "3", ""},
    {"{allOf: [{minimum: 10}, {maximum: 5}]}", "7", " must be at least 10\n must be at most 5"},
    {"{not: {type: string}}", "5", ""},
    {"{not: {type: string}}", "\"a\"", " must not be a string"},
    {"{not: {enum: [a, b]}}", "\"a\"", " must not be one of \"a\", \"b\""},

    {"{oneOf: [{type: string}, {type: integer}]}", "5", ""},
    {"{oneOf: [{type: string}, {type: integer}]}", "null", " must be a string or an integer"},
    {"{oneOf: [{type: string, maxLength: 2}, {type: integer}]}", "\"abc\"", " must have at most 2 characters"},
    {"{oneOf: [{type: integer}, {type: number}]}", "5", " must be only one of: an integer or a number"},
    {"{oneOf: [{type: integer, title: a count}, {const: auto}]}", "\"x\"", " must be \"auto\""},
    {"{anyOf: [{type: integer}, {type: number}]}", "5", ""},
    {"{anyOf: [{enum: [a]}, {enum: [b]}, {type: 'null'}]}", "\"c\"", " must be \"a\", \"b\" or null"},
    {"{$ref: '#/components/schemas/Shape'}", "{\"kind\": \"circle\", \"r\": 1.5}", ""},
    {"{$ref: '#/components/schemas/Shape'}", "{\"kind\": \"box\", \"a\": 1}", ""},
    {"{$ref: '#/components/schemas/Shape'}", "{\"kind\": \"circle\", \"r\": 0, \"x\": 1}", "/r must be more than 0\n/x is not a known field"},
    {"{$ref: '#/components/schemas/Shape'}", "{\"kind\": \"box\"}", "/a is required"},
    {"{$ref: '#/components/schemas/Shape'}", "{\"kind\": \"star\"}", " must be an object with \"kind\" and \"r\" or an object with \"kind\" and \"a\""},
    {"{$ref: '#/components/schemas/Shape'}", "5", " must be an object with \"kind\" and \"r\" or an object with \"kind\" and \"a\""},
    {"{oneOf: [{required: [a], properties: {a: {type: string}}}, {required: [b]}]}", "{\"a\": 5}", "/a must be a string"},
    {"{oneOf: [{required: [a]}, {required: [b]}]}", "{\"a\": 5, \"b\": 6}", " must be only one of: an object with \"a\" or an object with \"b\""},
    {"{oneOf: [{required: [a]}, {required: [b]}]}", "{}", " must be an object with \"a\" or an object with \"b\""},
};

START_TEST(values_are_held_against_schemas)
{
    char *faults = faults_of(rows[_i].schema, rows[_i].json);
    ck_assert_msg(strcmp(faults, rows[_i].faults) == 0, "%s of %s:\n'%s' instead of\n'%s'", rows[_i].schema, rows[_i].json, faults, rows[_i].faults);
    free(faults);
}
END_TEST

#define REF(name) "{$ref: '#/components/schemas/" name "'}"
static const struct {
    const char *schema;
    const char *words;
} refused[] = {
    {"5", "#/components/schemas/X: must be a schema"},
    {"{typ: string}", "#/components/schemas/X/typ: is not a known keyword"},
    {"{properties: {a: {minimun: 1}}}", "X/properties/a/minimun: is not a known keyword"},
    {"{items: {unevaluatedProperties: false}}", "unevaluatedProperties: is not a known keyword"},
    {"{type: text}", "X/type: must be the name of a type"},
    {"{type: [string, text]}", "X/type/1: must be the name of a type"},
    {"{type: []}", "must be the name of a type"},
    {"{type: null}", "must be the name of a type"},
    {"{enum: []}", "at least one value"},
    {"{enum: a}", "at least one value"},
    {"{minimum: '5'}", "must be a number"},
    {"{multipleOf: 0}", "above 0"},
    {"{minLength: -1}", "not negative"},
    {"{minLength: 1.5}", "not negative"},
    {"{uniqueItems: 1, maxItems: 2}", "must be true or false"},
    {"{uniqueItems: true}", "uniqueItems needs maxItems"},
    {"{uniqueItems: true, maxItems: 100000}", "uniqueItems needs maxItems"},
    {"{properties: []}", "must be an object"},
    {"{properties: {a: 5}}", "properties/a: must be a schema"},
    {"{required: a}", "array of names"},
    {"{required: [1]}", "array of names"},
    {"{required: [b], properties: {a: {}}, additionalProperties: false}", "'b', which is not among"},
    {"{oneOf: []}", "1 to 32 schemas"},
    {"{oneOf: {}}", "1 to 32 schemas"},
    {"{allOf: [{}, 5]}", "allOf/1: must be a schema"},
    {"{title: 5}", "must be a string"},
    {"{propertyNames: {enum: [a]}}", "more than lengths and a pattern"},

    {"{$ref: '#/components/schemas/Nope'}", "there is no #/components/schemas/Nope"},
    {"{$ref: '#/components/parameters/Name'}", "must be #/components/schemas/"},
    {"{$ref: 'other.yaml#/X'}", "must be #/components/schemas/"},
    {"{$ref: 5}", "must be #/components/schemas/"},
    {REF("X"), "refers to itself without end"},
    {"{allOf: [{oneOf: [{not: " REF("X") "}]}]}", "refers to itself without end"},
    {"{properties: {a: {anyOf: [{allOf: [{properties: {b: true}}, " REF("X") "]}]}}, not: " REF("X") "}", "refers to itself without end"},

    {"{type: integer, default: a}", "a default does not fit its schema:  must be an integer"},
    {"{properties: {n: {$ref: '#/components/schemas/Name', default: A}}}", "must match"},

    {"{pattern: 5}", "must be a string"},
    {"{pattern: '('}", "is not a regular expression"},
    {"{pattern: '\\d+'}", "backslash before an ordinary character"},
    {"{pattern: '(a)\\1'}", "backslash before an ordinary character"},
    {"{pattern: 'a\\'}", "backslash before an ordinary character"},
    {"{pattern: '[\\w]'}", "backslash between brackets"},
    {"{pattern: '[[:alpha:]]'}", "class of characters by name"},
    {"{pattern: '[]a]'}", "empty brackets"},
    {"{pattern: '[^]a]'}", "empty brackets"},
    {"{pattern: '[a'}", "is not a regular expression"},
    {"{pattern: '(?:a)'}", "group with (?"},
    {"{pattern: '((a{1,999}){1,999}){1,999}'}", "repeats too often"},
};

START_TEST(schemas_that_cannot_work_are_refused)
{
    struct error err = {0};
    struct spec *untouched = NULL;
    ck_assert_msg(load_schema(refused[_i].schema, &untouched, &err) == -1, "accepted: %s", refused[_i].schema);
    ck_assert_ptr_null(untouched);
    ck_assert_int_eq(err.code, ERR_INTERNAL);
    ck_assert_msg(strstr(err.message, refused[_i].words) != NULL, "'%s' lacks '%s'", err.message, refused[_i].words);
}
END_TEST

static const struct {
    const char *text;
    const char *words;
} refused_documents[] = {
    {"", "there is no document"},
    {"a: [", "line 2"},
    {"[]", "must be an object"},
    {"openapi: 3.0.3\npaths: {}\n", "must be 3.1"},
    {"openapi: 3.1\npaths: {}\n", "must be 3.1"},
    {"paths: {}\n", "must be 3.1"},
    {"openapi: 3.1.0\n", "#/paths: must be an object"},
    {"openapi: 3.1.0\npaths: {}\nwebhooks: {}\n", "#/webhooks: is not a known keyword"},
    {"openapi: 3.1.0\npaths: {}\ncomponents: {schema: {}}\n", "#/components/schema: is not a known keyword"},
    {"openapi: 3.1.0\npaths: {}\ncomponents: 5\n", "#/components: must be an object"},
};

START_TEST(documents_that_are_none_are_refused)
{
    struct error err = {0};
    struct spec *untouched = NULL;
    ck_assert_int_eq(load(refused_documents[_i].text, &untouched, &err), -1);
    ck_assert_int_eq(err.code, ERR_INTERNAL);
    ck_assert_msg(strstr(err.message, refused_documents[_i].words) != NULL, "%s", err.message);
}
END_TEST

START_TEST(extensions_and_annotations_are_free)
{
    char *faults = faults_of("{x-any: {thing: 1}, title: t, description: d, examples: [1], format: f, deprecated: true, "
                             "readOnly: true, writeOnly: false, default: 7}",
                             "5");
    ck_assert_str_eq(faults, "");
    free(faults);
}
END_TEST

/* Checks a value made by the test against a schema. */
static struct spec_faults check_value(const char *schema, json_t *value)
{
    struct spec *spec = NULL;
    struct error err = {0};
    struct spec_faults faults = {0};
    ck_assert_msg(load_schema(schema, &spec, &err) == 0, "%s", err.message);
    ck_assert_int_eq(spec_check_component(spec, "X", value, "config", &faults), faults.count == 0 && !faults.more);
    spec_free(spec);
    json_decref(value);
    return faults;
}

START_TEST(faults_have_a_limit)
{
    json_t *value = json_array();
    for (int i = 0; i < LIMIT_JSON_ERRORS; i++) {
        ck_assert_int_eq(json_array_append_new(value, json_null()), 0);
    }
    struct spec_faults faults = check_value("{items: {type: string}}", json_incref(value));
    ck_assert_uint_eq(faults.count, LIMIT_JSON_ERRORS);
    ck_assert(!faults.more);
    spec_faults_free(&faults);
    ck_assert_int_eq(json_array_append_new(value, json_null()), 0);
    faults = check_value("{items: {type: string}}", value);
    ck_assert_uint_eq(faults.count, LIMIT_JSON_ERRORS);
    ck_assert(faults.more);
    ck_assert_str_eq(faults.items[0].in, "config");
    spec_faults_free(&faults);
    ck_assert_ptr_null(faults.items);
}
END_TEST

START_TEST(a_pointer_that_is_too_long_names_what_is_around)
{
    char key[1000];
    memset(key, 'k', sizeof key);
    key[sizeof key - 1] = '\0';
    json_t *value = json_pack("{s: {s: i}}", "a", key, 1);
    struct spec_faults faults = check_value("{additionalProperties: {additionalProperties: false}}", value);
    ck_assert_uint_eq(faults.count, 1);
    ck_assert_str_eq(faults.items[0].pointer, "/a");
    ck_assert_str_eq(faults.items[0].message, "something below this is not a known field");
    spec_faults_free(&faults);

    key[SPEC_POINTER_MAX - 4] = '\0'; /* "/a/" and the key just fit */
    faults = check_value("{additionalProperties: {additionalProperties: false}}", json_pack("{s: {s: i}}", "a", key, 1));
    ck_assert_uint_eq(strlen(faults.items[0].pointer), SPEC_POINTER_MAX - 1);
    ck_assert_str_eq(faults.items[0].message, "is not a known field");
    spec_faults_free(&faults);

    key[10] = '/'; /* escaped, one byte too long */
    faults = check_value("{additionalProperties: {additionalProperties: false}}", json_pack("{s: {s: i}}", "a", key, 1));
    ck_assert_str_eq(faults.items[0].pointer, "/a");
    spec_faults_free(&faults);
}
END_TEST

START_TEST(faults_are_utf8_and_cut_with_dots)
{
    struct spec_faults faults = {0};
    char long_text[600] = "";
    for (size_t i = 0; i + 2 < sizeof long_text; i += 2) {
        memcpy(long_text + i, "\xc3\xa4", 3);
    }
    spec_faults_add(&faults, "query",
                    "a\xff\xc3"
                    "(\xed\xa0\x80\xc0\xaf\xe2\x82\xac",
                    "%s", long_text);
    ck_assert_str_eq(faults.items[0].pointer, "a?"
                                              "?"
                                              "(?"
                                              "?"
                                              "?"
                                              "?"
                                              "?"
                                              "\xe2\x82\xac");
    ck_assert_uint_ge(strlen(faults.items[0].message), 250);
    ck_assert_str_eq(faults.items[0].message + strlen(faults.items[0].message) - 5, "\xc3\xa4...");
    json_t *text = json_string(faults.items[0].message);
    ck_assert_ptr_nonnull(text);
    json_decref(text);
    long_text[255] = '\0';
    spec_faults_add(&faults, "query", long_text + 1, "%d", 5);
    ck_assert_uint_eq(strlen(faults.items[1].pointer), 254);
    spec_faults_free(&faults);
}
END_TEST

START_TEST(nul_in_a_string_never_matches)
{
    struct spec_faults faults = check_value("{pattern: '^[a-z]+$'}", json_stringn("abc\0/../x", 9));
    ck_assert_uint_eq(faults.count, 1);
    spec_faults_free(&faults);
}
END_TEST

START_TEST(values_nested_without_end_are_refused)
{
    json_t *value = json_object();
    for (int i = 0; i < 1000; i++) {
        value = json_pack("{s: [o]}", "children", value);
    }
    struct spec_faults faults = check_value(REF("Tree"), value);
    ck_assert_uint_eq(faults.count, 1);
    ck_assert_str_eq(faults.items[0].message, "is nested too deeply");
    spec_faults_free(&faults);
}
END_TEST

/* Each level looks twice at what is below: 2^32 steps, were they not counted. */
START_TEST(alternatives_within_alternatives_end)
{
    json_t *value = json_string("x");
    for (int i = 0; i < LIMIT_JSON_DEPTH; i++) {
        value = json_pack("[o]", value);
    }
    struct spec_faults faults = check_value("{oneOf: [{type: 'null'}, {type: array, items: " REF("X") "}, {type: array, "
                                                                                                      "maxItems: 1, items: " REF("X") "}]}",
                                            value);
    ck_assert_uint_ge(faults.count, 1);
    spec_faults_free(&faults);
}
END_TEST

static const char operations[] = "openapi: 3.1.0\n"
                                 "components:\n"
                                 "  schemas:\n"
                                 "    Id: {type: string, maxLength: 8, pattern: '^[a-z0-9-]+$'}\n"
                                 "    Size: {type: integer, minimum: 1, default: 128}\n"
                                 "    Vm:\n"
                                 "      type: object\n"
                                 "      required: [id]\n"
                                 "      additionalProperties: false\n"
                                 "      properties:\n"
                                 "        id: {$ref: '#/components/schemas/Id'}\n"
                                 "        size: {$ref: '#/components/schemas/Size'}\n"
                                 "        arch: {enum: [x86_64, aarch64], default: x86_64}\n"
                                 "        machine: {type: object, default: {}, properties: {vcpus: {type: integer, default: 1}}}\n"
                                 "        extra: {type: object, properties: {on: {type: boolean, default: true}}}\n"
                                 "        drives: {type: array, items: {$ref: '#/components/schemas/Drive'}}\n"
                                 "        labels: {type: object, additionalProperties: {type: object, properties: {n: {default: 0}}}}\n"
                                 "        source:\n"
                                 "          oneOf:\n"
                                 "            - {type: object, required: [url], properties: {url: true, retries: {default: 3}}}\n"
                                 "            - {type: object, required: [path], properties: {path: true, follow: {default: false}}}\n"
                                 "    Drive: {type: object, properties: {ro: {type: boolean, default: false}}}\n"
                                 "    Loop: {type: object, properties: {a: {$ref: '#/components/schemas/Loop', default: {}}}}\n"
                                 "  parameters:\n"
                                 "    limit: {name: limit, in: query, schema: {type: integer, minimum: 1, maximum: 100, default: 50}}\n"
                                 "paths:\n"
                                 "  /vms:\n"
                                 "    get:\n"
                                 "      operationId: list\n"
                                 "      parameters:\n"
                                 "        - {$ref: '#/components/parameters/limit'}\n"
                                 "        - {name: label, in: query, schema: {type: array, maxItems: 3, items: {$ref: "
                                 "'#/components/schemas/Id'}}}\n"
                                 "        - {name: port, in: query, schema: {type: array, items: {type: integer, maximum: 65535}}}\n"
                                 "        - {name: follow, in: query, schema: {type: boolean}}\n"
                                 "        - {name: ratio, in: query, schema: {type: number, minimum: 0}}\n"
                                 "        - {name: state, in: query, schema: {enum: [running, stopped]}}\n"
                                 "        - {name: If-None-Match, in: header, schema: {type: string, maxLength: 10}}\n"
                                 "        - {name: X-Count, in: header, schema: {type: integer}}\n"
                                 "    post:\n"
                                 "      operationId: create\n"
                                 "      requestBody: {content: {application/json: {schema: {$ref: '#/components/schemas/Vm'}}}}\n"
                                 "  /vms/{id}:\n"
                                 "    parameters:\n"
                                 "      - {name: id, in: path, required: true, schema: {$ref: '#/components/schemas/Id'}}\n"
                                 "      - {name: wait, in: query, schema: {type: integer}}\n"
                                 "    get: {operationId: get}\n"
                                 "    put:\n"
                                 "      operationId: put\n"
                                 "      parameters:\n"
                                 "        - {name: wait, in: query, required: true, schema: {type: string}}\n"
                                 "        - {name: If-Match, in: header, required: true, schema: {type: string}}\n";

static struct spec *spec;

static void load_operations(void)
{
    struct error err = {0};
    ck_assert_msg(load(operations, &spec, &err) == 0, "%s", err.message);
}

static void unload(void)
{
    spec_free(spec);
}

enum { GIVEN_MAX = 40 };

/* "name=value&name=value", split at & and =. */
static size_t split(char *text, struct spec_name_value *items)
{
    size_t count = 0;
    for (char *rest = text; rest != NULL && *rest != '\0' && count < GIVEN_MAX;) {
        char *item = strsep(&rest, "&");
        items[count].name = strsep(&item, "=");
        items[count++].value = item;
    }
    return count;
}

/* The values as JSON, or the faults, a line each. */
static char *parameters_of(const char *method, const char *id, const char *query, const char *headers)
{
    char *query_text = strdup(query);
    char *header_text = strdup(headers);
    struct spec_name_value query_items[GIVEN_MAX];
    struct spec_name_value header_items[GIVEN_MAX];
    size_t query_count = split(query_text, query_items);
    size_t header_count = split(header_text, header_items);
    const char *segments[] = {"vms", id};
    struct spec_route route;
    ck_assert_int_eq(spec_find(spec, method, segments, id != NULL ? 2 : 1, &route), SPEC_ROUTE_FOUND);
    json_t *values = NULL;
    struct spec_faults faults = {0};
    struct strbuf out = STRBUF_INIT;
    bool fits = spec_check_parameters(spec, &route, query_items, query_count, header_items, header_count, &values, &faults);
    ck_assert_int_eq(fits, values != NULL);
    ck_assert_int_eq(fits, faults.count == 0);
    for (size_t i = 0; i < faults.count; i++) {
        strbuf_addf(&out, "%s%s %s %s", i > 0 ? "\n" : "", faults.items[i].in, faults.items[i].pointer, faults.items[i].message);
    }
    char *text = fits ? json_text(values) : strbuf_take(&out);
    json_decref(values);
    spec_faults_free(&faults);
    free(query_text);
    free(header_text);
    return text;
}

static const struct {
    const char *method;
    const char *id;
    const char *query;
    const char *headers;
    const char *result;
} parameter_rows[] = {
    {"GET", NULL, "", "", "{\"limit\":50}"},
    {"HEAD", NULL, "", "", "{\"limit\":50}"},
    {"GET", NULL, "limit=5", "Host=x&Accept=a&accept=b", "{\"limit\":5}"},
    {"GET", NULL, "limit=1", "", "{\"limit\":1}"},
    {"GET", NULL, "limit=0", "", "query limit must be at least 1"},
    {"GET", NULL, "limit=-1", "", "query limit must be at least 1"},
    {"GET", NULL, "limit=101", "", "query limit must be at most 100"},
    {"GET", NULL, "limit=", "", "query limit must be an integer"},
    {"GET", NULL, "limit", "", "query limit must be an integer"},
    {"GET", NULL, "limit=+5", "", "query limit must be an integer"},
    {"GET", NULL, "limit= 5", "", "query limit must be an integer"},
    {"GET", NULL, "limit=5 ", "", "query limit must be an integer"},
    {"GET", NULL, "limit=5\n", "", "query limit must be an integer"},
    {"GET", NULL, "limit=5.0", "", "query limit must be an integer"},
    {"GET", NULL, "limit=5e0", "", "query limit must be an integer"},
    {"GET", NULL, "limit=05", "", "query limit must be an integer"},
    {"GET", NULL, "limit=0x5", "", "query limit must be an integer"},
    {"GET", NULL, "limit=-", "", "query limit must be an integer"},
    {"GET", NULL, "limit=5,6", "", "query limit must be an integer"},
    {"GET", NULL, "limit=99999999999999999999", "", "query limit must be an integer of at most 64 bits"},
    {"GET", NULL, "limit=-99999999999999999999", "", "query limit must be an integer of at most 64 bits"},
    {"GET", NULL, "limit=9223372036854775807", "", "query limit must be at most 100"},
    {"GET", NULL, "limit=5&limit=5", "", "query limit is given more than once"},
    {"GET", NULL, "Limit=5", "", "query Limit is not a known parameter"},
    {"GET", NULL, "nope=1&limit=x&=3", "", "query nope is not a known parameter\nquery  is not a known parameter\nquery limit must be an integer"},
    {"GET", NULL, "If-None-Match=a", "", "query If-None-Match is not a known parameter"},
    {"GET", NULL, "\xff=1", "", "query ? is not a known parameter"},
    {"GET", NULL, "follow=true", "", "{\"limit\":50,\"follow\":true}"},
    {"GET", NULL, "follow=false", "", "{\"limit\":50,\"follow\":false}"},
    {"GET", NULL, "follow=1", "", "query follow must be true or false"},
    {"GET", NULL, "follow=TRUE", "", "query follow must be true or false"},
    {"GET", NULL, "follow", "", "query follow must be true or false"},
    {"GET", NULL, "ratio=0.5", "", "{\"limit\":50,\"ratio\":0.5}"},
    {"GET", NULL, "ratio=2", "", "{\"limit\":50,\"ratio\":2}"},
    {"GET", NULL, "ratio=.5", "", "query ratio must be a number"},
    {"GET", NULL, "ratio=nan", "", "query ratio must be a number"},
    {"GET", NULL, "ratio=1e999", "", "query ratio must be a number of at most 64 bits"},
    {"GET", NULL, "ratio=\"5\"", "", "query ratio must be a number"},
    {"GET", NULL, "state=running", "", "{\"limit\":50,\"state\":\"running\"}"},
    {"GET", NULL, "state=gone", "", "query state must be one of \"running\", \"stopped\""},
    {"GET", NULL, "label=a", "", "{\"limit\":50,\"label\":[\"a\"]}"},
    {"GET", NULL, "label=a&limit=9&label=b", "", "{\"limit\":9,\"label\":[\"a\",\"b\"]}"},
    {"GET", NULL, "label=a,b", "", "query label must match ^[a-z0-9-]+$"},
    {"GET", NULL, "label=\xff", "", "query label must be UTF-8"},
    {"GET", NULL, "label=a&label=b&label=c&label=d", "", "query label must have at most 3 items"},
    {"GET", NULL, "port=1&port=2", "", "{\"limit\":50,\"port\":[1,2]}"},
    {"GET", NULL, "port=1&port=x", "", "query port must be an integer"},
    {"GET", NULL, "port=65536", "", "query port must be at most 65535"},
    {"GET", NULL, "", "if-none-match=abc", "{\"limit\":50,\"If-None-Match\":\"abc\"}"},
    {"GET", NULL, "", "If-None-Match=01234567890", "header If-None-Match must have at most 10 characters"},
    {"GET", NULL, "", "If-None-Match=a&IF-NONE-MATCH=b", "header If-None-Match is given more than once"},
    {"GET", NULL, "", "X-Count=7", "{\"limit\":50,\"X-Count\":7}"},
    {"GET", NULL, "", "X-Count=seven", "header X-Count must be an integer"},
    {"GET", NULL, "", "X-Other=\xff&X-Other=2", "{\"limit\":50}"},
    {"GET", "web-1", "", "", "{\"id\":\"web-1\"}"},
    {"GET", "web-1", "wait=5", "", "{\"id\":\"web-1\",\"wait\":5}"},
    {"GET", "Web", "wait=x", "", "path id must match ^[a-z0-9-]+$\nquery wait must be an integer"},
    {"GET", "123456789", "", "", "path id must have at most 8 characters"},
    {"GET", "a\xff", "", "", "path id must be UTF-8"},
    {"GET", "..", "", "", "path id must match ^[a-z0-9-]+$"},
    {"PUT", "a", "wait=x", "If-Match=e", "{\"wait\":\"x\",\"If-Match\":\"e\",\"id\":\"a\"}"},
    {"PUT", "a", "", "", "query wait is required\nheader If-Match is required"},
    {"PUT", "a", "wait=", "If-Match=", "{\"wait\":\"\",\"If-Match\":\"\",\"id\":\"a\"}"},
};

START_TEST(parameters_become_values)
{
    char *result = parameters_of(parameter_rows[_i].method, parameter_rows[_i].id, parameter_rows[_i].query, parameter_rows[_i].headers);
    ck_assert_str_eq(result, parameter_rows[_i].result);
    free(result);
}
END_TEST

#define PARAMETER(text) "openapi: 3.1.0\npaths: {/a: {get: {operationId: a, parameters: [" text "]}}}\n"
static const struct {
    const char *document;
    const char *words;
} refused_parameters[] = {
    {PARAMETER("5"), "#/paths/~1a/get/parameters/0: must be an object"},
    {PARAMETER("{in: query, schema: {}}"), "has no name"},
    {PARAMETER("{name: a, schema: {}}"), "'in' must be"},
    {PARAMETER("{name: a, in: cookie, schema: {}}"), "'in' must be"},
    {PARAMETER("{name: a, in: query}"), "schema: must be a schema"},
    {PARAMETER("{name: a, in: query, content: {}}"), "content: is not a known keyword"},
    {PARAMETER("{name: a, in: query, schema: {type: object}}"), "must be a string"},
    {PARAMETER("{name: a, in: query, schema: {type: [string, integer]}}"), "must be a string"},
    {PARAMETER("{name: a, in: query, schema: {type: array}}"), "has no items"},
    {PARAMETER("{name: a, in: query, schema: {type: array, items: {type: array, items: {}}}}"), "must be a string"},
    {PARAMETER("{name: a, in: query, explode: false, schema: {type: array, items: {}}}"), "'explode' must be true"},
    {PARAMETER("{name: a, in: query, style: deepObject, schema: {}}"), "'style' must be form"},
    {PARAMETER("{name: a, in: header, schema: {type: array, items: {}}}"), "must be a string"},
    {PARAMETER("{name: content-type, in: header, schema: {}}"), "cannot be described"},
    {PARAMETER("{name: a, in: query, required: 1, schema: {}}"), "'required' must be true or false"},
    {PARAMETER("{name: a, in: query, schema: {}}, {name: a, in: query, schema: {}}"), "is there twice"},
    {PARAMETER("{name: a, in: query, schema: {}}, {name: a, in: header, schema: {}}"), "is there twice"},
    {PARAMETER("{name: a, in: query, schema: {default: 1, maximum: 0}}"), "default does not fit"},
    {PARAMETER("{$ref: '#/components/parameters/a'}"), "there is no"},
    {PARAMETER("{$ref: '#/components/parameters/a', name: b}"), "name: is not a known keyword"},
    {"openapi: 3.1.0\npaths: {'/{a}': {get: {operationId: a, parameters: [{name: a, in: path, schema: "
     "{}}]}}}\n",
     "must be required"},
    {"openapi: 3.1.0\npaths: {/a: {parameters: 5, get: {operationId: a}}}\n", "must be an array"},
    {"openapi: 3.1.0\ncomponents: {parameters: {a: {$ref: '#/components/parameters/b'}, b: {}}}\npaths: {/a: "
     "{get: "
     "{operationId: a, parameters: [{$ref: '#/components/parameters/a'}]}}}\n",
     "is itself a $ref"},
};

START_TEST(parameters_that_cannot_work_are_refused)
{
    struct error err = {0};
    struct spec *untouched = NULL;
    ck_assert_msg(load(refused_parameters[_i].document, &untouched, &err) == -1, "accepted: %s", refused_parameters[_i].document);
    ck_assert_ptr_null(untouched);
    ck_assert_msg(strstr(err.message, refused_parameters[_i].words) != NULL, "'%s' lacks '%s'", err.message, refused_parameters[_i].words);
}
END_TEST

static json_t *parse(const char *text)
{
    struct error err = {0};
    json_t *value = NULL;
    ck_assert_msg(json_parse(text, strlen(text), &value, &err) == 0, "%s", err.message);
    return value;
}

START_TEST(bodies_are_checked_by_operation)
{
    struct spec_route route;
    const char *segments[] = {"vms"};
    struct spec_faults faults = {0};
    AUTO_JSON *good = parse("{\"id\": \"a\", \"size\": 1}");
    AUTO_JSON *bad = parse("{\"id\": \"A\", \"sise\": 1}");
    ck_assert_int_eq(spec_find(spec, "POST", segments, 1, &route), SPEC_ROUTE_FOUND);
    ck_assert(spec_check_body(spec, route.operation, good, &faults));
    ck_assert_ptr_null(faults.items);
    ck_assert(!spec_check_body(spec, route.operation, bad, &faults));
    ck_assert_uint_eq(faults.count, 2);
    ck_assert(spec_check_body(spec, route.operation, good, &faults)); /* the older faults are not its own */
    ck_assert_uint_eq(faults.count, 2);
    ck_assert_int_eq(spec_find(spec, "GET", segments, 1, &route), SPEC_ROUTE_FOUND);
    ck_assert(!spec_check_body(spec, route.operation, good, &faults));
    ck_assert_str_eq(faults.items[2].message, "must be absent: this operation takes no body");
    ck_assert(!spec_check_component(spec, "Nope", good, "config", &faults));
    spec_faults_free(&faults);
}
END_TEST

static const struct {
    const char *before;
    const char *after;
} default_rows[] = {
    {"{}", "{\"arch\":\"x86_64\",\"machine\":{\"vcpus\":1},\"size\":128}"},
    {"{\"size\": 5, \"arch\": null, \"machine\": {\"vcpus\": 2}}", "{\"arch\":null,\"machine\":{\"vcpus\":2},\"size\":5}"},
    {"{\"size\": 1, \"arch\": 1, \"machine\": 5, \"extra\": {}}", "{\"arch\":1,\"extra\":{\"on\":true},\"machine\":5,\"size\":1}"},
    {"{\"size\": 1, \"arch\": 1, \"machine\": 1, \"drives\": [{}, {\"ro\": true}, 7]}",
     "{\"arch\":1,\"drives\":[{\"ro\":false},{\"ro\":true},7],\"machine\":1,\"size\":1}"},
    {"{\"size\": 1, \"arch\": 1, \"machine\": 1, \"labels\": {\"a\": {}}}", "{\"arch\":1,\"labels\":{\"a\":{\"n\":0}},\"machine\":1,\"size\":1}"},
    {"{\"size\": 1, \"arch\": 1, \"machine\": 1, \"source\": {\"path\": 1}}", "{\"arch\":1,\"machine\":1,\"size\":1,\"source\":{\"follow\":false,\"path\":1}}"},
    {"{\"size\": 1, \"arch\": 1, \"machine\": 1, \"source\": {}}", "{\"arch\":1,\"machine\":1,\"size\":1,\"source\":{}}"},
    {"5", "5"},
};

START_TEST(defaults_are_filled_in)
{
    struct error err = {0};
    AUTO_JSON *value = parse(default_rows[_i].before);
    ck_assert_int_eq(spec_apply_defaults(spec, "Vm", value, &err), 0);
    char *text = json_dumps(value, JSON_COMPACT | JSON_SORT_KEYS | JSON_ENCODE_ANY);
    ck_assert_str_eq(text, default_rows[_i].after);
    free(text);
}
END_TEST

START_TEST(defaults_belong_to_the_value)
{
    AUTO_JSON *first = parse("{}");
    AUTO_JSON *second = parse("{}");
    ck_assert_int_eq(spec_apply_defaults(spec, "Vm", first, NULL), 0);
    ck_assert_int_eq(json_object_set_new(json_object_get(first, "machine"), "vcpus", json_integer(9)), 0);
    ck_assert_int_eq(spec_apply_defaults(spec, "Vm", second, NULL), 0);
    ck_assert_int_eq(json_get_int(json_object_get(second, "machine"), "vcpus", 0), 1);
}
END_TEST

START_TEST(defaults_within_themselves_end)
{
    struct error err = {0};
    AUTO_JSON *value = parse("{}");
    ck_assert_int_eq(spec_apply_defaults(spec, "Loop", value, &err), -1);
    ck_assert_int_eq(err.code, ERR_INTERNAL);
    ck_assert_int_eq(spec_apply_defaults(spec, "Nope", value, &err), -1);
}
END_TEST

static const struct {
    const char *schema;
    const char *json;
    const char *left;
} nulls[] = {
    {"{type: object, properties: {a: {type: integer}, b: {type: [integer, 'null']}}}", "{\"a\":null,\"b\":null}", "{\"b\":null}"},
    {"{type: object, required: [a], properties: {a: {type: integer}}}", "{\"a\":null}", "{\"a\":null}"},
    {"{type: object, properties: {a: {enum: [1, null]}}}", "{\"a\":null}", "{\"a\":null}"},
    {"{type: object, properties: {a: {}}}", "{\"a\":null,\"x\":null}", "{\"a\":null,\"x\":null}"},
    {"{type: object, additionalProperties: {type: string}}", "{\"a\":null}", "{\"a\":null}"},
    {"{$ref: '#/components/schemas/Tree'}", "{\"name\":null,\"children\":[{\"name\":\"a\",\"children\":null}]}", "{\"children\":[{\"name\":\"a\"}]}"},
    {"{anyOf: [{$ref: '#/components/schemas/Tree'}, {type: 'null'}]}", "{\"name\":null}", "{}"},
    {"{type: array, items: {$ref: '#/components/schemas/Name'}}", "[null]", "[null]"},
    {"{type: object}", "null", "null"},
};

START_TEST(null_is_as_good_as_absent)
{
    struct spec *own = NULL;
    struct error err = {0};
    AUTO_JSON *value = NULL;
    ck_assert_msg(load_schema(nulls[_i].schema, &own, &err) == 0, "%s", err.message);
    ck_assert_int_eq(json_parse(nulls[_i].json, strlen(nulls[_i].json), &value, &err), 0);
    spec_drop_component_nulls(own, "X", value);
    AUTO_FREE char *text = json_text(value);
    ck_assert_str_eq(text, nulls[_i].left);
    spec_free(own);
}
END_TEST

int main(void)
{
    Suite *suite = suite_create("spec");
    TCase *schemas = tcase_create("schemas");
    tcase_add_loop_test(schemas, values_are_held_against_schemas, 0, (int)(sizeof rows / sizeof *rows));
    tcase_add_loop_test(schemas, schemas_that_cannot_work_are_refused, 0, (int)(sizeof refused / sizeof *refused));
    tcase_add_loop_test(schemas, documents_that_are_none_are_refused, 0, (int)(sizeof refused_documents / sizeof *refused_documents));
    tcase_add_test(schemas, extensions_and_annotations_are_free);
    tcase_add_test(schemas, faults_have_a_limit);
    tcase_add_test(schemas, a_pointer_that_is_too_long_names_what_is_around);
    tcase_add_test(schemas, faults_are_utf8_and_cut_with_dots);
    tcase_add_test(schemas, nul_in_a_string_never_matches);
    tcase_add_test(schemas, values_nested_without_end_are_refused);
    tcase_add_test(schemas, alternatives_within_alternatives_end);
    tcase_add_loop_test(schemas, null_is_as_good_as_absent, 0, (int)(sizeof nulls / sizeof *nulls));
    tcase_set_timeout(schemas, 30);
    suite_add_tcase(suite, schemas);
    TCase *requests = tcase_create("requests");
    tcase_add_checked_fixture(requests, load_operations, unload);
    tcase_add_loop_test(requests, parameters_become_values, 0, (int)(sizeof parameter_rows / sizeof *parameter_rows));
    tcase_add_loop_test(requests, parameters_that_cannot_work_are_refused, 0, (int)(sizeof refused_parameters / sizeof *refused_parameters));
    tcase_add_test(requests, bodies_are_checked_by_operation);
    tcase_add_loop_test(requests, defaults_are_filled_in, 0, (int)(sizeof default_rows / sizeof *default_rows));
    tcase_add_test(requests, defaults_belong_to_the_value);
    tcase_add_test(requests, defaults_within_themselves_end);
    suite_add_tcase(suite, requests);
    SRunner *runner = srunner_create(suite);
    srunner_run_all(runner, CK_NORMAL);
    int failed = srunner_ntests_failed(runner);
    srunner_free(runner);
    return failed == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
