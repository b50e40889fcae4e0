/*
 * Inside db/ only: reservations of VMs that have none, since they were there before there were any, or came back from a damaged database. What such a row may
 * have in it is not known: what is no document reserves nothing, and no number is larger than a VM's.
 */
#ifndef SMARTVM_DB_RESERVATIONS_MEND_H
#define SMARTVM_DB_RESERVATIONS_MEND_H

#include "core/error.h"
#include "core/limits.h"
#include "core/vm_config.h"
#include "core/vm_memory.h"

#include <sqlite3.h>

_Static_assert(VM_CONFIG_MEM_MIB_MAX == 1048576 && VM_CONFIG_VCPUS_MAX == 32 && LIMIT_VM_CONFIG_BYTES == 131072 && LIMIT_INTERFACES == 8,
               "of RESERVATIONS_COMPLETE");
_Static_assert(VM_OVERHEAD_FIRECRACKER_MIB == 64 && VM_OVERHEAD_QEMU_MIB == 256 && VM_OVERHEAD_QEMU_TCG_MIB == 1280, "of RESERVATIONS_COMPLETE");

#define MEND_DOCUMENT(column)            "iif(length(" column ") <= 131072 AND json_valid(" column "), " column ", '{}')"
#define MEND_NUMBER(document, path, max) "max(0, min(" max ", CAST(ifnull(json_extract(" document ", '" path "'), 0) AS INTEGER)))"
#define MEND_MIB(document)               MEND_NUMBER(document, "$.machine_config.mem_size_mib", "1048576")
#define MEND_VCPUS(document)             MEND_NUMBER(document, "$.machine_config.vcpu_count", "32")

/* A guest's memory, a 64th of it, and the overhead of the VMM that it had last, or asks for: core/vm_memory.h. */
#define RESERVATIONS_COMPLETE \
    "INSERT INTO reservations (vm_uid, memory_mib, drive_mib, vcpus, interfaces, held_memory_mib, held_vcpus)" \
    " WITH documents AS (SELECT uid, image, " MEND_DOCUMENT("config") " AS wanted, " MEND_DOCUMENT("boot_config") " AS booted, " MEND_DOCUMENT( \
        "observed") " AS observed FROM vms WHERE uid NOT IN (SELECT vm_uid FROM reservations))," \
                    " sizes AS (SELECT *, " MEND_MIB("wanted") " AS mib, " MEND_MIB( \
                        "booted") " AS booted_mib," \
                                  "   CASE WHEN ifnull(json_extract(observed, '$.vmm.driver'), json_extract(wanted, '$.vmm')) IS NOT 'qemu' THEN 64" \
                                  "     WHEN json_extract(observed, '$.vmm.accelerator') IS 'kvm' THEN 256" \
                                  "     ELSE 256 + min(1024, ifnull((SELECT " MEND_NUMBER( \
                                      MEND_DOCUMENT("value"), "$.memory_mib", \
                                      "8192") " / 8 FROM facts WHERE name = 'host'), 1024))" \
                                              "   END AS overhead_mib FROM documents)" \
                                              " SELECT uid, mib + mib / 64 + overhead_mib," \
                                              "   ifnull((SELECT iif(json_extract(" MEND_DOCUMENT( \
                                                  "i.manifest") ", '$.rootfs_is_read_only') IS 1, 0," \
                                                                "     (" MEND_NUMBER( \
                                                                    MEND_DOCUMENT("i.observed"), "$.rootfs.size_bytes", \
                                                                    "1 << 60") " + 1048575) / 1048576) FROM images i WHERE i.id = image), 0)," \
                                                                               "   " MEND_VCPUS( \
                                                                                   "wanted") ", (SELECT min(8, count(*)) FROM interfaces WHERE vm_uid = uid)," \
                                                                                             "   iif(booted_mib > 0, booted_mib + booted_mib / 64 + " \
                                                                                             "overhead_mib, 0), " MEND_VCPUS( \
                                                                                                 "booted") " FROM sizes WHERE true" \
                                                                                                           " ON CONFLICT (vm_uid) DO NOTHING"

/* For a database that is made ready, before anybody opens it: what is missing, and the sum anew. Error: DATABASE, with SQLite's code in *ret_rc (may be NULL). */
int reservations_mend(sqlite3 *sqlite, int *ret_rc, struct error *err);

#endif
