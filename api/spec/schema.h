/*
 * JSON schemas, compiled: what spec.c, the router and the parameters share with the validator. Private to
 * api/spec*.c.
 *
 * A schema borrows names and values from the document, which must outlive it. $ref is resolved when a schema
 * is compiled; schemas may refer to themselves, but only through a member or an item of the value, so that
 * every check ends.
 */
#ifndef SMARTVM_API_SPEC_SCHEMA_H
#define SMARTVM_API_SPEC_SCHEMA_H

#include "api/spec/spec.h"
#include "core/json.h"

#include <regex.h>
#include <stdint.h>

enum {
    SCHEMA_ALTERNATIVES_MAX = 32,   /* of one oneOf, anyOf or allOf: bits of a word */
    SCHEMA_UNIQUE_ITEMS_MAX = 1024, /* largest maxItems beside uniqueItems, which compares each with each */
    SCHEMA_PATTERN_MAX = 512,       /* bytes of a pattern */
    SCHEMA_STEPS_MAX = 4000000,     /* schemas that one check may look at */
};

/* A place in the document or in a value: a chain on the stack, written out only for a fault. */
struct place {
    const struct place *parent; /* NULL at the top */
    const char *key;            /* NULL: `index` counts */
    size_t index;
    unsigned depth;
};

#define PLACE_TOP ((struct place){NULL, NULL, 0, 0})

static inline struct place place_member(const struct place *parent, const char *key)
{
    return (struct place){parent, key, 0, parent->depth + 1};
}

static inline struct place place_item(const struct place *parent, size_t index)
{
    return (struct place){parent, NULL, index, parent->depth + 1};
}

/*
 * Writes the JSON pointer. One that does not fit names the nearest place around that does, and false is
 * returned.
 */
bool place_format(const struct place *at, char *buf, size_t size);

/* Error INTERNAL with the place in the document. */
int place_error(struct error *err, const struct place *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* A bit per type of value. An integer is a number too. */
enum schema_type {
    SCHEMA_OBJECT = 1,
    SCHEMA_ARRAY = 2,
    SCHEMA_STRING = 4,
    SCHEMA_INTEGER = 8,
    SCHEMA_NUMBER = 16,
    SCHEMA_BOOLEAN = 32,
    SCHEMA_NULL = 64,
};

struct schema_number {
    bool present;
    bool is_integer; /* `integer` is exact */
    int64_t integer;
    double real;
};

struct schema_count {
    bool present;
    size_t value;
};

struct schema_list {
    const struct schema **items; /* owned array of borrowed schemas */
    size_t count;
};

struct schema_property {
    const char *name;
    size_t name_len;
    const struct schema *schema;
    bool required;
};

struct schema {
    struct schema *next; /* in schema_set.all */
    const json_t *source;
    enum { SCHEMA_UNCHECKED, SCHEMA_CHECKING, SCHEMA_CHECKED } state; /* of the search for endless references */

    bool never;              /* the schema `false` */
    bool checked_by_handler; /* only the type is checked here */
    unsigned types;          /* bits; 0: any */
    const struct schema *ref;
    const json_t *constant;
    const json_t *enumeration; /* array */
    const json_t *fallback;    /* "default" */
    const char *title;
    const char *says; /* "x-says": what a text must be, for those who read a fault: it ends "must be " */

    struct schema_number minimum, maximum, above, below, multiple_of;

    struct schema_count min_length, max_length;
    const char *pattern;
    regex_t *regex; /* owned */

    struct schema_count min_items, max_items;
    bool unique_items;
    const struct schema *items;

    struct schema_property *properties; /* owned, sorted */
    size_t property_count;
    const json_t *required;          /* array of strings */
    const struct schema *additional; /* NULL: anything */
    const struct schema *property_names;
    struct schema_count min_properties, max_properties;

    struct schema_list one_of, any_of, all_of;
    const struct schema *negated;
};

struct schema_named {
    const char *name;
    struct schema *schema;
};

struct schema_set {
    struct schema *all;         /* owned */
    struct schema_named *named; /* owned, sorted: components/schemas and components/x-schemas */
    size_t named_count;
};

/* Compiles the schemas of `components`. The set is filled as far as it went, also on failure: free it either
 * way. */
int schema_set_load(struct schema_set *set, const json_t *components, struct error *err);
struct schema *schema_new(struct schema_set *set, const json_t *source); /* owned by the set; NULL: out of memory */
int schema_compile_into(struct schema_set *set, struct schema *schema, const struct place *at, struct error *err);
int schema_compile_pattern(const char *pattern, const struct place *at, regex_t **ret, struct error *err);
int schema_compile(struct schema_set *set, const json_t *source, const struct place *at, const struct schema **ret, struct error *err);
/* When all is compiled: no endless references, and each default fits. */
int schema_set_verify(const struct schema_set *set, struct error *err);
void schema_set_free(struct schema_set *set);
const struct schema *schema_named(const struct schema_set *set, const char *name); /* NULL when there is none */

/* Through $ref and allOf: the types allowed (0: any), the default, a property's schema (NULL: none). */
unsigned schema_types(const struct schema *schema);
const json_t *schema_default(const struct schema *schema);
const struct schema *schema_find_property(const struct schema *schema, const char *name);
const struct schema_property *schema_own_property(const struct schema *schema, const char *name, size_t len);

/* For functions that take what they do not change without saying so. */
static inline json_t *schema_mutable(const json_t *value)
{
    return (json_t *)(uintptr_t)value;
}

static inline struct schema *schema_unconst(const struct schema *schema)
{
    return (struct schema *)(uintptr_t)schema;
}

/* One check. The faults go to `faults`; without it, the check is quiet and ends at the first. */
struct walk {
    struct spec_faults *faults; /* NULL: quiet */
    const char *in;
    const char *name;   /* instead of a pointer, for parameters; else NULL */
    const char *prefix; /* before the message, "" or of a key */
    size_t *steps;      /* left; shared with the quiet checks inside */
    bool failed;
    bool ended; /* nothing more needs to be looked at */
};

/* Whether the value fits. Takes no memory unless a fault is found. */
bool schema_check(const struct schema *schema, const json_t *value, const char *in, const char *name, struct spec_faults *faults);

void schema_walk(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at);
void schema_walk_alternatives(struct walk *walk, const struct schema_list *list, bool only_one, json_t *value, const struct place *at);
bool schema_fits(struct walk *walk, const struct schema *schema, json_t *value, const struct place *at);
void walk_fault(struct walk *walk, const struct place *at, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Equality as JSON Schema has it: 1 and 1.0 are the same number. */
bool schema_equal(const json_t *a, const json_t *b);
unsigned schema_type_of(const json_t *value);
struct schema_number schema_number_of(const json_t *value);
int schema_number_compare(struct schema_number a, struct schema_number b);

/* Words for people: `a string or null`, `one of "a", "b"`, a title. */
struct strbuf;
void schema_describe(struct strbuf *out, const struct schema *schema);
void schema_describe_types(struct strbuf *out, unsigned types);
void schema_describe_values(struct strbuf *out, const json_t *values);
void schema_describe_value(struct strbuf *out, const json_t *value);

#endif
