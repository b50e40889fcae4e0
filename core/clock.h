/* The two clocks. Deadlines and durations use the monotonic one; only what is shown to people uses the wall clock. */
#ifndef SMARTVM_CORE_CLOCK_H
#define SMARTVM_CORE_CLOCK_H

#include <stdint.h>
#include <stddef.h>

int64_t clock_monotonic_us(void); /* CLOCK_MONOTONIC, microseconds */
int64_t clock_monotonic_ms(void);
int64_t clock_boottime_ms(void); /* since the host booted, and while it slept, too: CLOCK_BOOTTIME */
int64_t clock_wall_ms(void);     /* milliseconds since 1970-01-01T00:00:00Z */

enum { CLOCK_TEXT_MAX = 32 };
/* RFC 3339 in UTC with milliseconds, "2026-11-23T21:53:00.000Z", into buf[CLOCK_TEXT_MAX]; returns buf. */
char *clock_format(int64_t wall_ms, char *buf);

#endif
