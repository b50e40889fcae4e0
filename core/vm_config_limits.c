/* Limits of CPU and of input and output, as a member of the document. */
#include "core/cleanup.h"
#include "core/json_build.h"
#include "core/vm_config_internal.h"

#include <string.h>

/* Against a mistake in the unit; the kernel takes more bytes, and no more operations than 32 bits. */
static const struct {
    const char *name;
    uint64_t max;
} io_types[VM_IO_COUNT_] = {
    [VM_IO_READ_BYTES] = {"read_bytes_per_s", 1ULL << 40},
    [VM_IO_WRITE_BYTES] = {"write_bytes_per_s", 1ULL << 40},
    [VM_IO_READ_OPS] = {"read_ops_per_s", 1000000000},
    [VM_IO_WRITE_OPS] = {"write_ops_per_s", 1000000000},
};

const char *vm_io_name(enum vm_io io)
{
    return io_types[io].name;
}

uint64_t vm_io_max(enum vm_io io)
{
    return io_types[io].max;
}

bool vm_limits_any_io(const struct vm_limits *limits)
{
    bool any = false;
    for (size_t i = 0; i < VM_IO_COUNT_; i++) {
        any = any || limits->io[i] > 0;
    }
    return any;
}

static void parse_io(struct config_parse *parse, const json_t *value, struct vm_limits *limits)
{
    const char *names[VM_IO_COUNT_];
    for (size_t i = 0; i < VM_IO_COUNT_; i++) {
        names[i] = io_types[i].name;
    }
    if (value == NULL || !config_is_object(parse, value, "/limits/io", names, ARRAY_LEN(names))) {
        return;
    }
    for (size_t i = 0; i < VM_IO_COUNT_; i++) {
        int64_t number = 0;
        config_integer(parse, value, "/limits/io", io_types[i].name, 0, (int64_t)io_types[i].max, &number);
        limits->io[i] = (uint64_t)number;
    }
}

void config_parse_limits(struct config_parse *parse, const json_t *value, struct vm_limits *limits)
{
    static const char *const names[] = {"cpu_percent", "cpu_weight", "io"};
    int64_t percent = limits->cpu_percent;
    int64_t weight = limits->cpu_weight;
    if (!config_is_object(parse, value, "/limits", names, ARRAY_LEN(names))) {
        return;
    }
    config_integer(parse, value, "/limits", "cpu_percent", 0, VM_CPU_PERCENT_MAX, &percent);
    config_integer(parse, value, "/limits", "cpu_weight", 1, VM_CPU_WEIGHT_MAX, &weight);
    parse_io(parse, json_object_get(value, "io"), limits);
    limits->cpu_percent = (unsigned)percent;
    limits->cpu_weight = (unsigned)weight;
}

json_t *config_limits_json(const struct vm_limits *limits)
{
    AUTO_JSON_BUILD io = json_build_object();
    for (size_t i = 0; i < VM_IO_COUNT_; i++) {
        json_build_put(&io, io_types[i].name, json_integer((json_int_t)limits->io[i]));
    }
    return json_pack("{s:i, s:i, s:o}", "cpu_percent", (int)limits->cpu_percent, "cpu_weight", (int)limits->cpu_weight, "io", json_build_take(&io));
}

bool config_limits_equal(const struct vm_limits *a, const struct vm_limits *b)
{
    return a->cpu_percent == b->cpu_percent && a->cpu_weight == b->cpu_weight && memcmp(a->io, b->io, sizeof a->io) == 0;
}
