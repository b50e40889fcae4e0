#include "host/vmm/known_faults.h"

#include <stdlib.h>
#include <string.h>

/* Source: https://github.com/firecracker-microvm/firecracker/security/advisories. What concerns virtio-pci (CVE-2026-5747) is not here: it is never turned on. */
const struct known_fault known_faults[] = {
    {"jailer", "0", "1.13.1", "CVE-2026-1386",
     "links that an earlier VMM left in a chroot lead the jailer to files of the host; smartvmd makes each chroot anew, and nothing of a guest is ever in it "
     "before"},
    {"jailer", "1.14.0", "1.14.0", "CVE-2026-1386",
     "links that an earlier VMM left in a chroot lead the jailer to files of the host; smartvmd makes each chroot anew, and nothing of a guest is ever in it "
     "before"},
    {NULL, NULL, NULL, NULL, NULL},
};

int version_compare(const char *a, const char *b)
{
    while (*a != '\0' || *b != '\0') {
        char *end_a = NULL;
        char *end_b = NULL;
        unsigned long number_a = strtoul(a, &end_a, 10);
        unsigned long number_b = strtoul(b, &end_b, 10);
        if (number_a != number_b) {
            return number_a < number_b ? -1 : 1;
        }
        a = end_a + (*end_a == '.');
        b = end_b + (*end_b == '.');
        if ((*a != '\0' && (*a < '0' || *a > '9')) || (*b != '\0' && (*b < '0' || *b > '9'))) {
            break; /* "1.13.1-dev": what comes behind does not count */
        }
    }
    return 0;
}

const struct known_fault *known_fault_find(const char *program, const char *version)
{
    for (const struct known_fault *fault = known_faults; fault->program != NULL; fault++) {
        if (strcmp(fault->program, program) == 0 && version_compare(version, fault->first) >= 0 && version_compare(version, fault->last) <= 0) {
            return fault;
        }
    }
    return NULL;
}
