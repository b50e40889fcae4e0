/* Inside core/ only: what the files of the parser of core/vm_config.h share. */
#ifndef SMARTVM_CORE_VM_CONFIG_INTERNAL_H
#define SMARTVM_CORE_VM_CONFIG_INTERNAL_H

#include "core/vm_config.h"

enum { CONFIG_POINTER_MAX = 256, CONFIG_MESSAGE_MAX = 256 };

struct config_parse {
    enum vm_config_source source;
    vm_config_fault_fn *fault; /* may be NULL */
    void *ctx;
    size_t faults;
    char first[CONFIG_POINTER_MAX + CONFIG_MESSAGE_MAX]; /* of them, printable */
    bool out_of_memory;
};

void config_fault(struct config_parse *parse, const char *pointer, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* The same of a member of the object at `pointer`; the name is escaped. */
void config_member_fault(struct config_parse *parse, const char *pointer, const char *member, const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* Faults for a value of another type, and for members that are not among `names`. Returns whether it is an object. */
bool config_is_object(struct config_parse *parse, const json_t *value, const char *pointer, const char *const *names, size_t count);
/* Returns whether it is an array of at most so many. */
bool config_is_array(struct config_parse *parse, const json_t *value, const char *pointer, size_t at_most);

/* A member of the object: *ret is left as it is when there is none. */
void config_integer(struct config_parse *parse, const json_t *object, const char *pointer, const char *member, int64_t min, int64_t max, int64_t *ret);
/* One of `names`: its number. */
void config_name(struct config_parse *parse, const json_t *object, const char *pointer, const char *member, const char *const *names, size_t count,
                 unsigned *ret);
/* The text of a member; NULL when there is none, and when it is of another type, which is a fault. */
const char *config_string(struct config_parse *parse, const json_t *object, const char *pointer, const char *member);
/* Is it there? A fault when not. */
bool config_required(struct config_parse *parse, const json_t *object, const char *pointer, const char *member);

void config_parse_ports(struct config_parse *parse, const json_t *value, struct vm_config *config);
json_t *config_ports_json(const struct vm_config *config);
bool config_ports_equal(const struct vm_config *a, const struct vm_config *b);

void config_parse_limits(struct config_parse *parse, const json_t *value, struct vm_limits *limits);
json_t *config_limits_json(const struct vm_limits *limits);
bool config_limits_equal(const struct vm_limits *a, const struct vm_limits *b);

#endif
