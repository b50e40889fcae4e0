/*
 * Inside api/ only: the answers of writes, and `?wait=`. A write has one answer when it is committed, which
 * is stored under its Idempotency-Key, and with `wait` another one when the wanted state is reached, has
 * failed, or the time is over.
 */
#ifndef SMARTVM_API_WAIT_H
#define SMARTVM_API_WAIT_H

#include "api/call.h"
#include "api/etag.h"
#include "core/strbuf.h"

enum write_kind { WRITE_CREATE, WRITE_CHANGE, WRITE_DELETE };

/* A resource as it is at one moment. */
struct look {
    bool gone;    /* removed, even if another one has its id now */
    bool settled; /* nothing is left to be done of what is wanted, or it has failed */
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
    int (*look)(struct api *api, const char *id, int64_t identity, bool whole, struct look *ret,
                struct error *err);
};

struct written {
    const struct wait_subject *subject;
    enum write_kind kind;
    const char *id;
    int64_t identity;
    struct look *look; /* as it is right after the write, with its body, which the answer takes */
};

/* Stores the answer under the Idempotency-Key, inside the transaction of the write. */
int written_store(struct api *api, const struct origin *origin, const struct written *written,
                  struct error *err);

/* After the commit: the answer, or a WAIT. */
int written_reply(const struct origin *origin, const struct written *written, struct api_reply *reply,
                  struct error *err);

/* 200 with the resource of a GET. */
int look_reply(struct look *look, int status, struct api_reply *reply, struct error *err);

#endif
