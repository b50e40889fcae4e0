/* Inside api/ only: repairs, which are tasks, can be waited for. */
#ifndef SMARTVM_API_DRIFT_H
#define SMARTVM_API_DRIFT_H

#include "api/wait.h"

extern const struct wait_subject repair_subject;

#endif
