#include "worker/repair_backoff.h"

int64_t repair_backoff_quiet_at(const struct repair_backoff *backoff)
{
    int64_t quiet_ms = 2 * backoff->delay_ms;
    return backoff->last_ms + (quiet_ms > REPAIR_QUIET_MS ? quiet_ms : REPAIR_QUIET_MS);
}

static bool is_quiet(const struct repair_backoff *backoff, int64_t now_ms)
{
    return backoff->repairs == 0 || now_ms >= repair_backoff_quiet_at(backoff);
}

bool repair_backoff_is_contested(const struct repair_backoff *backoff, int64_t now_ms)
{
    return backoff->repairs >= REPAIR_FREE && !is_quiet(backoff, now_ms);
}

int64_t repair_backoff_wait(const struct repair_backoff *backoff, int64_t now_ms)
{
    int64_t due_ms = backoff->last_ms + backoff->delay_ms;
    return repair_backoff_is_contested(backoff, now_ms) && now_ms < due_ms ? due_ms - now_ms : 0;
}

bool repair_backoff_note(struct repair_backoff *backoff, int64_t now_ms)
{
    if (is_quiet(backoff, now_ms)) {
        *backoff = (struct repair_backoff){.repairs = 0};
    }
    backoff->last_ms = now_ms;
    if (++backoff->repairs < REPAIR_FREE) {
        return false;
    }
    int64_t delay_ms = backoff->delay_ms == 0 ? REPAIR_DELAY_FIRST_MS : 2 * backoff->delay_ms;
    backoff->delay_ms = delay_ms < REPAIR_DELAY_MAX_MS ? delay_ms : REPAIR_DELAY_MAX_MS;
    return backoff->repairs == REPAIR_FREE;
}
