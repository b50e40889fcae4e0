/* Inside worker/border/ only: questions of the usual shapes. */
#ifndef SMARTVM_WORKER_BORDER_ASK_H
#define SMARTVM_WORKER_BORDER_ASK_H

#include "worker/border/border.h"

#include <stdint.h>

/* The answer is nothing. */
int border_tell(struct border *border, enum message_kind kind, const void *question, struct error *err);
/* The answer is a flag; `ret` may be NULL. */
int border_ask_flag(struct border *border, enum message_kind kind, const void *question, bool *ret, struct error *err);

/* For the member of a question: the texts of questions are only read. */
static inline char *border_only_read(const char *text)
{
    return (char *)(uintptr_t)text;
}

#endif
