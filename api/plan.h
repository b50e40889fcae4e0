/*
 * Inside api/ only: the answer to a write with `dry_run`: the resource as it would be, with the member `plan`, which says what would be done on the host.
 * That tell the planners that do it, which the worker is asked for (worker/plan.h).
 */
#ifndef SMARTVM_API_PLAN_H
#define SMARTVM_API_PLAN_H

#include "api/api.h"
#include "core/plan_wish.h"

struct plan {
    const char *request_id;
    const char *etag;             /* of what there is now: the plan holds as long as If-Match does. NULL: there is none */
    int status;                   /* of the write's own answer */
    bool changes;                 /* whether anything would be stored */
    const char *resource;         /* as it would be, an object as text; NULL: there would be none */
    const struct plan_wish *wish; /* NULL: nothing is done on the host */
    const char *note;             /* in words, beside those of the worker; NULL: none */
};

/* 200 with the plan, at once or when the worker has answered. What *plan refers to is copied. */
int plan_reply(const struct plan *plan, struct api_reply *reply, struct error *err);

#endif
