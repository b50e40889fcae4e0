/*
 * Inside api/ only: the answers of writes, and `?wait=`. A write has one answer when it is committed, which
 * is stored under its Idempotency-Key, and with `wait` another one when the wanted state is reached, has
 * failed, or the time is over. An answer that came before the end is stored with what it did not wait for, so that
 * who asks again with the same key, and waits, waits for that. What ended in failure is answered with the status of error_code_status_of_end(), also
 * when it is replayed.
 */
#ifndef SMARTVM_API_WAIT_H
#define SMARTVM_API_WAIT_H

#include "api/call.h"
#include "api/etag.h"
#include "core/strbuf.h"

#include <jansson.h>

enum write_kind { WRITE_CREATE, WRITE_CHANGE, WRITE_DELETE };

/* What is waited for beyond the state that is wanted. Zeroed for most writes. */
struct wait_goal {
    bool up;    /* the write wants the VM up: a VM that failed, or whose guest did, is its failure */
    bool guest; /* `wait_for=guest`: the guest has to speak up */
};

/* A resource as it is at one moment. */
struct look {
    bool gone;    /* removed, even if another one has its id now */
    bool settled; /* nothing is left to be done of what is wanted, or it has failed */
    bool failed;  /* and how: `error`. Who waited for it gets an error status, and the resource in it */
    struct error error;
    bool is_problem; /* the body is the problem already */
    char etag[ETAG_MAX];
    struct strbuf body; /* its JSON, unless it is gone */
};
void look_free(struct look *look);
#define AUTO_LOOK __attribute__((cleanup(look_free))) struct look

/* A kind of resource that can be waited for. */
struct wait_subject {
    const char *kind; /* "vm" or "image"; "network", of which there is one, with the id "" */
    const char *path; /* "/vms/": what stands before the id in Location and in messages */
    /* `identity` tells apart those that had one id after another; the body may be left out when neither
     * settled nor `whole`. */
    int (*look)(struct api *api, const char *id, int64_t identity, const struct wait_goal *goal, bool whole, struct look *ret, struct error *err);
};

struct written {
    const struct wait_subject *subject;
    enum write_kind kind;
    const char *id;
    int64_t identity;
    struct wait_goal goal;
    struct look *look; /* as it is right after the write, with its body, which the answer takes */
};

/* The status of the answer to who does not wait. */
int written_status(const struct written *written);

/* Stores the answer under the Idempotency-Key, inside the transaction of the write. */
int written_store(struct api *api, const struct origin *origin, const struct written *written, struct error *err);

/* After the commit: the answer, or a WAIT. */
int written_reply(const struct origin *origin, const struct written *written, struct api_reply *reply, struct error *err);

/*
 * To a request that was carried out before and asks again: the answer when what was not waited for then is over, at once or as a WAIT. *ret_resumed false
 * when nothing can be waited for: it is gone, or of a kind that is not known.
 */
struct idempotency_pending;
int wait_resume(struct api *api, const struct origin *origin, const struct idempotency_pending *pending, struct api_reply *reply, bool *ret_resumed,
                struct error *err);

/* Marks a look as one whose change ended in failure: with the code and message of `error` ({"code", "message"}), or of
 * `fallback` where it has none. */
void look_fail(struct look *look, const json_t *error, enum error_code fallback, const char *message);

/* The same by the condition `ready`, whose reason is a code when it is false. */
void look_fail_unless_ready(struct look *look, const json_t *conditions, enum error_code fallback);

/* 200 with the resource of a GET. */
int look_reply(struct look *look, int status, struct api_reply *reply, struct error *err);

#endif
