/* Inside keeper/ only: what answers each message. `question` and `answer` are the records that core/message.h names; `answer` is zeroed. */
#ifndef SMARTVM_KEEPER_HANDLERS_H
#define SMARTVM_KEEPER_HANDLERS_H

#include "core/message.h"
#include "db/db.h"

#define X(capitals, name, question, answer) int keeper_##name(struct db *db, const void *question_, void *answer_, struct error *err);
MESSAGES(X)
#undef X

#endif
