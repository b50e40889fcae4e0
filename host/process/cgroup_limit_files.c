#include "host/process/cgroup_limit_files.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

static void format_number(uint64_t value, char buf[CGROUP_VALUE_MAX])
{
    (void)snprintf(buf, CGROUP_VALUE_MAX, "%" PRIu64, value);
}

static void format_max(uint64_t value, char buf[CGROUP_VALUE_MAX])
{
    if (value > 0) {
        format_number(value, buf);
    } else {
        (void)snprintf(buf, CGROUP_VALUE_MAX, "max");
    }
}

/* "max": 0. */
static uint64_t parse_max(const char *text)
{
    uint64_t value = 0;
    return sscanf(text, "%" SCNu64, &value) == 1 ? value : 0;
}

static void format_memory(const struct cgroup_limits *limits, char buf[CGROUP_VALUE_MAX])
{
    format_max(limits->memory_max, buf);
}

static void parse_memory(const char *text, struct cgroup_limits *limits)
{
    limits->memory_max = parse_max(text);
}

static void format_pids(const struct cgroup_limits *limits, char buf[CGROUP_VALUE_MAX])
{
    format_max(limits->pids_max, buf);
}

static void parse_pids(const char *text, struct cgroup_limits *limits)
{
    limits->pids_max = parse_max(text);
}

static void format_cpu_max(const struct cgroup_limits *limits, char buf[CGROUP_VALUE_MAX])
{
    char max[CGROUP_VALUE_MAX / 2];
    if (limits->cpu_max > 0) {
        (void)snprintf(max, sizeof max, "%" PRIu64, limits->cpu_max);
    }
    (void)snprintf(buf, CGROUP_VALUE_MAX, "%s %d", limits->cpu_max > 0 ? max : "max", (int)CGROUP_CPU_PERIOD_US);
}

/* Somebody may have set another period. */
static void parse_cpu_max(const char *text, struct cgroup_limits *limits)
{
    uint64_t quota = 0;
    uint64_t period = 0;
    const bool is_set = sscanf(text, "%" SCNu64 " %" SCNu64, &quota, &period) == 2 && period > 0;
    limits->cpu_max = is_set ? quota * CGROUP_CPU_PERIOD_US / period : 0;
}

enum { WEIGHT_DEFAULT = 100 };

static void format_cpu_weight(const struct cgroup_limits *limits, char buf[CGROUP_VALUE_MAX])
{
    format_number(limits->cpu_weight > 0 ? limits->cpu_weight : WEIGHT_DEFAULT, buf);
}

static void parse_cpu_weight(const char *text, struct cgroup_limits *limits)
{
    limits->cpu_weight = parse_max(text);
}

static const char *const io_keys[CGROUP_IO_COUNT] = {"rbps", "wbps", "riops", "wiops"};

/* "254:0 rbps=max wbps=1048576 riops=max wiops=max"; "" without a disk, where nothing can be set. */
static void format_io(const struct cgroup_limits *limits, char buf[CGROUP_VALUE_MAX])
{
    buf[0] = '\0';
    if (limits->io_device == 0) {
        return;
    }
    size_t len = (size_t)snprintf(buf, CGROUP_VALUE_MAX, "%u:%u", major(limits->io_device), minor(limits->io_device));
    for (size_t i = 0; i < CGROUP_IO_COUNT && len < CGROUP_VALUE_MAX; i++) {
        char max[32] = "max";
        if (limits->io_max[i] > 0) {
            (void)snprintf(max, sizeof max, "%" PRIu64, limits->io_max[i]);
        }
        len += (size_t)snprintf(buf + len, CGROUP_VALUE_MAX - len, " %s=%s", io_keys[i], max);
    }
}

/* A line for each disk that has a limit. */
static void parse_io(const char *text, struct cgroup_limits *limits)
{
    char device[32];
    (void)snprintf(device, sizeof device, "%u:%u ", major(limits->io_device), minor(limits->io_device));
    memset(limits->io_max, 0, sizeof limits->io_max);
    for (const char *line = text; limits->io_device != 0 && line != NULL && *line != '\0'; line = strchr(line, '\n') != NULL ? strchr(line, '\n') + 1 : NULL) {
        if (strncmp(line, device, strlen(device)) != 0) {
            continue;
        }
        for (size_t i = 0; i < CGROUP_IO_COUNT; i++) {
            char key[16];
            (void)snprintf(key, sizeof key, " %s=", io_keys[i]);
            const char *at = strstr(line, key);
            const char *end = strchr(line, '\n');
            limits->io_max[i] = at != NULL && (end == NULL || at < end) ? parse_max(at + strlen(key)) : 0;
        }
    }
}

static bool has_memory(const struct cgroup_support *support)
{
    return support->memory;
}

static bool has_pids(const struct cgroup_support *support)
{
    return support->pids;
}

static bool has_cpu(const struct cgroup_support *support)
{
    return support->cpu;
}

static bool has_io(const struct cgroup_support *support)
{
    return support->io;
}

const struct cgroup_limit_file cgroup_limit_files[CGROUP_LIMIT_COUNT_] = {
    [CGROUP_MEMORY_MAX] = {"memory.max", has_memory, format_memory, parse_memory},
    [CGROUP_PIDS_MAX] = {"pids.max", has_pids, format_pids, parse_pids},
    [CGROUP_CPU_MAX] = {"cpu.max", has_cpu, format_cpu_max, parse_cpu_max},
    [CGROUP_CPU_WEIGHT] = {"cpu.weight", has_cpu, format_cpu_weight, parse_cpu_weight},
    [CGROUP_IO_MAX] = {"io.max", has_io, format_io, parse_io},
};

void cgroup_limits_compare(const struct cgroup_support *support, const struct cgroup_limits *wanted, const struct cgroup_limits *found,
                           char ret[CGROUP_DIFFERENCE_MAX])
{
    ret[0] = '\0';
    for (size_t i = 0; i < CGROUP_LIMIT_COUNT_ && ret[0] == '\0'; i++) {
        char is[CGROUP_VALUE_MAX];
        char should[CGROUP_VALUE_MAX];
        cgroup_limit_files[i].format(found, is);
        cgroup_limit_files[i].format(wanted, should);
        if (cgroup_limit_files[i].is_supported(support) && strcmp(is, should) != 0) {
            (void)snprintf(ret, CGROUP_DIFFERENCE_MAX, "%s of the cgroup is %.100s, not %.100s", cgroup_limit_files[i].name, is, should);
        }
    }
}
