#include "db/idempotency_clock.h"

#include "core/boot_id.h"
#include "core/cleanup.h"
#include "core/clock.h"
#include "db/column.h"
#include "db/facts.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char fact[] = "idempotency_clock"; /* "<boot id> <offset in ms>" */

static int read_youngest(struct db *db, int64_t *ret, struct error *err)
{
    AUTO_STATEMENT *stmt = statement_get(db, "SELECT coalesce(max(made_ms), 0) AS youngest FROM idempotency", err);
    if (stmt == NULL || statement_step(db, stmt, err) != STATEMENT_ROW) {
        return -1;
    }
    *ret = column_int(stmt, "youngest");
    return 0;
}

/* false: it is of another boot, or there is none, or none that can be read. */
static bool parse_offset(const char *text, const char *boot_id, int64_t *ret)
{
    const size_t len = strlen(boot_id);
    char *end = NULL;
    if (text == NULL || strncmp(text, boot_id, len) != 0 || text[len] != ' ') {
        return false;
    }
    *ret = strtoimax(text + len, &end, 10);
    return *end == '\0';
}

static int look(struct db *db, char boot_id[BOOT_ID_MAX], int64_t *ret_now_ms, bool *ret_noted, struct error *err)
{
    AUTO_FREE char *text = NULL;
    int64_t offset_ms = 0;
    int64_t youngest_ms = 0;
    if (boot_id_read(boot_id, err) != 0 || facts_get(db, fact, &text, err) != 0 || read_youngest(db, &youngest_ms, err) != 0) {
        return -1;
    }
    const int64_t boottime_ms = clock_boottime_ms();
    *ret_noted = parse_offset(text, boot_id, &offset_ms) && offset_ms + boottime_ms >= youngest_ms;
    *ret_now_ms = *ret_noted ? offset_ms + boottime_ms : youngest_ms;
    return 0;
}

int idempotency_clock_read(struct db *db, int64_t *ret_now_ms, struct error *err)
{
    char boot_id[BOOT_ID_MAX];
    bool noted = false;
    return look(db, boot_id, ret_now_ms, &noted, err);
}

int idempotency_clock_note(struct db *db, int64_t *ret_now_ms, struct error *err)
{
    char boot_id[BOOT_ID_MAX];
    char text[BOOT_ID_MAX + 32];
    bool noted = false;
    if (look(db, boot_id, ret_now_ms, &noted, err) != 0) {
        return -1;
    }
    (void)snprintf(text, sizeof text, "%s %" PRId64, boot_id, *ret_now_ms - clock_boottime_ms());
    return noted ? 0 : facts_set(db, fact, text, NULL, err);
}
