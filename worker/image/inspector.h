/* Has a process without rights look at a file of an image (server/inspector_process.h), and believes it no more than its answer. */
#ifndef SMARTVM_WORKER_IMAGE_INSPECTOR_H
#define SMARTVM_WORKER_IMAGE_INSPECTOR_H

#include "host/store/inspect.h"
#include "worker/context.h"

#include <stdatomic.h>

struct inspector {
    struct worker *worker;
    const atomic_bool *cancel; /* set to end it early: CONFLICT */
};

/*
 * `inspect` of struct store_request; `ctx` is a struct inspector. Returns when the process has ended, so that nobody writes to `out` any more. One that dies
 * of what it looks at, or takes longer than INSPECTOR_WAIT_S: INVALID_MANIFEST.
 */
enum { INSPECTOR_WAIT_S = 300 };
int inspector_ask(void *ctx, const struct inspection *what, int in, int out, bool *ret_unpacked, struct error *err);

#endif
