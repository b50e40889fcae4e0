#include "api/wait_subjects.h"

#include "api/drift.h"
#include "api/image/images.h"
#include "api/vm/vms.h"
#include "core/cleanup.h"

#include <string.h>

static const struct wait_subject *const subjects[] = {&vm_subject, &image_subject, &repair_subject};

const struct wait_subject *wait_subject_find(const char *path)
{
    for (size_t i = 0; i < ARRAY_LEN(subjects); i++) {
        if (strcmp(subjects[i]->path, path) == 0) {
            return subjects[i];
        }
    }
    return NULL;
}
