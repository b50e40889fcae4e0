/*
 * The worker's end of the border: asks the keeper, and believes nothing of what it answers. Any thread; one question is under way at a time.
 *
 * Errors of all questions: those that the keeper tells (of db/), and
 *   UNAVAILABLE  there is no keeper just now, or it was too slow or broken, and is ended: another one is started. Ask again.
 *   ROW_DAMAGED  what is stored can't be what it should be; the message names the field.
 */
#ifndef SMARTVM_WORKER_BORDER_BORDER_H
#define SMARTVM_WORKER_BORDER_BORDER_H

#include "core/message.h"

struct border;

enum {
    BORDER_ANSWER_MS = 15000, /* longer than the keeper waits for SQLite's lock */
};

/*
 * `give_up` is called, by whichever thread asked, when the keeper is of no use any more: it must end it. `spared` tells of an element of a list that was
 * left out, since it is damaged.
 */
struct border_setup {
    void (*give_up)(void *ctx);
    void (*spared)(void *ctx, const char *list, const char *key, const struct error *why);
    void *ctx;
};
int border_new(const struct border_setup *setup, struct border **ret, struct error *err);
void border_free(struct border *border); /* harmless on NULL */

/* Takes over the socket of a new keeper, -1: there is none. */
void border_connect(struct border *border, int socket);

/* Asks and waits for the answer: the records of message_types[kind]. *answer is to be freed with record_free() of its table. */
int border_ask(struct border *border, enum message_kind kind, const void *question, void *answer, struct error *err);

/* Tells of an element of a list that the caller leaves out, since what stands in it is damaged. */
void border_spare(struct border *border, const char *list, const char *key, const struct error *why);

#endif
