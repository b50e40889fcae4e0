#include "db/reservations_mend.h"

/* The sum is right whatever happened to it: somebody's hand, or rows that were taken over from a damaged database. Nothing is written when it is. */
static const char sum_anew[] = "INSERT OR REPLACE INTO reserved SELECT 1, s.* FROM (SELECT ifnull(sum(max(memory_mib, held_memory_mib)), 0) AS memory_mib,"
                               " ifnull(sum(drive_mib), 0) AS drive_mib, ifnull(sum(max(vcpus, held_vcpus)), 0) AS vcpus,"
                               " ifnull(sum(interfaces), 0) AS interfaces FROM reservations) AS s"
                               " WHERE NOT EXISTS (SELECT 1 FROM reserved r WHERE r.id = 1 AND r.memory_mib = s.memory_mib AND r.drive_mib = s.drive_mib"
                               " AND r.vcpus = s.vcpus AND r.interfaces = s.interfaces)";

int reservations_mend(sqlite3 *sqlite, int *ret_rc, struct error *err)
{
    static const char *const steps[] = {"BEGIN IMMEDIATE", "DELETE FROM reservations WHERE vm_uid NOT IN (SELECT uid FROM vms)", RESERVATIONS_COMPLETE,
                                        sum_anew, "COMMIT"};
    for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
        int rc = sqlite3_exec(sqlite, steps[i], NULL, NULL, NULL);
        if (rc != SQLITE_OK) {
            (void)error_set(err, ERR_DATABASE, "what is reserved could not be added up: %s", sqlite3_errmsg(sqlite));
            (void)sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
            if (ret_rc != NULL) {
                *ret_rc = rc;
            }
            return -1;
        }
    }
    return 0;
}
