/* Inside api/ only: questions to the worker, and its answers. */
#ifndef SMARTVM_API_ASK_H
#define SMARTVM_API_ASK_H

#include "api/api.h"

/* Makes an ASK of {"question": name, member: value}. `state` stays the caller's on failure; ops as in api.h.
 */
int ask_begin(struct api_reply *reply, const char *name, const char *member, const char *value, void *state, const struct api_reply_ops *ops,
              struct error *err);

/*
 * What was answered (borrowed), or NULL with *err filled: from the worker's error, or TIMEOUT when it did not
 * answer in time.
 */
const json_t *ask_answer(const json_t *message, struct error *err);

/* Takes the state out of the reply, so that the reply can be filled with the answer. */
void *ask_take_state(struct api_reply *reply);

#endif
