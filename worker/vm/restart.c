#include "worker/vm/restart.h"

bool restart_is_wanted(enum vm_restart_policy policy, enum exit_reason reason)
{
    if (reason == EXIT_ASKED) {
        return false;
    }
    if (reason == EXIT_GUEST_REBOOT || policy == VM_RESTART_ALWAYS) {
        return true;
    }
    /* The end of the host is nobody's wish. */
    return policy == VM_RESTART_ON_FAILURE && (!exit_reason_is_clean(reason) || reason == EXIT_HOST_REBOOT);
}

int64_t restart_streak(int64_t before, int64_t lasted_ms)
{
    return lasted_ms >= RESTART_RESET_MS || before < 0 ? 1 : before + 1;
}

int64_t restart_delay_ms(int64_t streak, bool is_reboot)
{
    int64_t doublings = streak - (is_reboot ? 2 : 1);
    int64_t delay_ms = RESTART_DELAY_MS;
    if (doublings < 0) {
        return 0;
    }
    while (doublings-- > 0 && delay_ms < RESTART_DELAY_MAX_MS) {
        delay_ms *= 2;
    }
    return delay_ms < RESTART_DELAY_MAX_MS ? delay_ms : RESTART_DELAY_MAX_MS;
}
