/*
 * Questions that take longer than the main loop may: two threads of their own answer them. At most
 * LIMIT_SLOW_QUESTIONS wait; more are refused.
 */
#ifndef SMARTVM_WORKER_SLOW_QUESTION_H
#define SMARTVM_WORKER_SLOW_QUESTION_H

#include "worker/context.h"

struct slow_questions;

int slow_questions_start(struct worker *worker, struct slow_questions **ret, struct error *err);
void slow_questions_stop(struct slow_questions *slow); /* what waits is dropped; harmless on NULL */

/* Copies the text, and takes over the descriptor (or -1). False, and nothing is taken over, when too many wait. */
bool slow_questions_add(struct slow_questions *slow, uint64_t number, const char *text, int fd);

#endif
