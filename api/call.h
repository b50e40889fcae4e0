/*
 * Inside api/ only: the api itself, and one request on its way from the listener to its handler.
 */
#ifndef SMARTVM_API_CALL_H
#define SMARTVM_API_CALL_H

#include "api/api.h"
#include "api/preconditions.h"
#include "api/spec/spec.h"
#include "api/spec/target.h"
#include "core/limits.h"
#include "core/network_settings.h"
#include "db/db.h"

struct call;

/* `check` (may be NULL) adds to call->faults what the schema cannot say; `run` is only called when there are
 * none. */
struct handler {
    const char *operation; /* operationId */
    void (*check)(struct call *call);
    int (*run)(struct call *call, struct api_reply *reply, struct error *err);
};

enum { API_OPERATIONS_MAX = 64 };

struct api {
    struct api_setup setup;
    struct db *db;                              /* = setup.db */
    const struct config *config;                /* = setup.config */
    struct network_overrides network_overrides; /* as stored: this process is the only one that changes them */
    struct shown_vms *shown_vms;                /* api/vm/shown.h */
    char *openapi_json;
    struct {
        const struct spec_operation *operation;
        const struct handler *handler;
    } routes[API_OPERATIONS_MAX];
    size_t route_count;
};

/* What of a request outlives it, in replies that wait or ask. A plain value. */
struct origin {
    char request_id[40];
    char idempotency_key[LIMIT_IDEMPOTENCY_KEY_BYTES + 1]; /* "" when there is none */
    char fingerprint[65];                                  /* of the request that the key belongs to */
    int64_t wait_ms;                                       /* 0: do not wait */
    bool wait_for_guest;                                   /* and not only for the VMM */
    bool is_replay;                                        /* of a request that was carried out before: it is only waited for */
    bool dry_run;                                          /* answered with the plan, and nothing is changed */
};

struct call {
    struct api *api;
    const struct api_request *request;
    struct target target;
    struct spec_route route;
    const struct handler *handler;
    const char *id;     /* the path parameter of that name, or NULL */
    json_t *parameters; /* by the names of the document, converted, with defaults */
    json_t *body;       /* of JSON operations; NULL when there is none */
    struct spec_faults faults;
    bool has_fault_code; /* fault_code is the code of the faults, instead of what follows from the document */
    enum error_code fault_code;
    struct preconditions preconditions;
    struct origin origin;
    struct hint {
        const char *name; /* a header that the error reply needs, "Allow" or "Accept-Post"; NULL for none */
        char value[96];
    } hint;
};

/* The methods of the request's path, into call->hint.value. NOT_FOUND, or what is wrong with the target. */
int call_find_allowed(struct call *call, struct error *err);

/* What call_read() does about the body. */
int call_read_body(struct call *call, struct error *err);

/* Reads and checks the request into *call (zeroed but for api and request), up to its parameters and body. */
int call_read(struct call *call, struct error *err);
void call_free(struct call *call);

/* The call goes on in *to, without its request, which ends before; *from keeps what the reply to an error needs. */
void call_move(struct call *from, struct call *to);

/* When there are faults: fills *err with their code and the first of them, and returns -1. */
int call_check_faults(const struct call *call, struct error *err);

/* The settings of the network that are wanted now. */
struct network_settings api_network(const struct api *api);

/* Says "look" to the worker; `kind` is "vm" or "image", or "network" with the id "". */
void call_wake(const struct api *api, const char *kind, const char *id);

/* Rolls an open transaction back when its scope is left; commit with db_commit(TAKE_PTR(transaction), err).
 */
static inline void cleanup_transaction(struct db **db)
{
    if (*db != NULL) {
        db_rollback(*db);
    }
}
#define AUTO_TRANSACTION __attribute__((cleanup(cleanup_transaction))) struct db

#endif
