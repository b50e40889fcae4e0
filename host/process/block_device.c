#include "host/process/block_device.h"

#include "core/cleanup.h"

#include <stdbool.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* "254:0" out of a file of sysfs. */
static bool read_device(const char *path, dev_t *ret)
{
    unsigned numbers[2] = {0, 0};
    AUTO_FCLOSE FILE *file = fopen(path, "re");
    if (file == NULL || fscanf(file, "%u:%u", &numbers[0], &numbers[1]) != 2) {
        return false;
    }
    *ret = makedev(numbers[0], numbers[1]);
    return true;
}

dev_t block_device_of(const char *path)
{
    struct stat st;
    char entry[96];
    dev_t device = 0;
    if (stat(path, &st) != 0) {
        return 0;
    }
    (void)snprintf(entry, sizeof entry, "/sys/dev/block/%u:%u/partition", major(st.st_dev), minor(st.st_dev));
    const bool is_partition = access(entry, F_OK) == 0;
    (void)snprintf(entry, sizeof entry, "/sys/dev/block/%u:%u/%sdev", major(st.st_dev), minor(st.st_dev), is_partition ? "../" : "");
    return read_device(entry, &device) ? device : 0;
}
