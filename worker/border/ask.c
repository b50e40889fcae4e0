#include "worker/border/ask.h"

int border_tell(struct border *border, enum message_kind kind, const void *question, struct error *err)
{
    struct message_nothing unused;
    return border_ask(border, kind, question, &unused, err);
}

int border_ask_flag(struct border *border, enum message_kind kind, const void *question, bool *ret, struct error *err)
{
    struct message_flag flag;
    if (border_ask(border, kind, question, &flag, err) != 0) {
        return -1;
    }
    if (ret != NULL) {
        *ret = flag.value;
    }
    return 0;
}
