/* Inside api/ only: the kinds of resources that are made or changed by a POST and can be waited for. */
#ifndef SMARTVM_API_WAIT_SUBJECTS_H
#define SMARTVM_API_WAIT_SUBJECTS_H

#include "api/wait.h"

/* By its `path`; NULL: there is none. */
const struct wait_subject *wait_subject_find(const char *path);

#endif
