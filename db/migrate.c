#include "db/migrate.h"

#include "core/cleanup.h"
#include "db/db.h"

#include <stdio.h>

static const char *const migrations[] = {
    /* 1: images, VMs, leases, events, idempotency keys, facts of the host. */
    "CREATE TABLE images ("
    "  id TEXT PRIMARY KEY NOT NULL,"
    "  manifest TEXT NOT NULL,"
    "  state TEXT NOT NULL CHECK (state IN ('importing', 'ready', 'failed', 'deleting')),"
    "  observed TEXT NOT NULL DEFAULT '{}',"
    "  kernel_sha256 TEXT, rootfs_sha256 TEXT, initrd_sha256 TEXT,"
    "  revision INTEGER NOT NULL DEFAULT 1,"
    "  created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE vms ("
    "  uid INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  id TEXT NOT NULL UNIQUE,"
    "  image TEXT NOT NULL REFERENCES images (id),"
    "  desired_state TEXT NOT NULL CHECK (desired_state IN ('running', 'stopped', 'paused')),"
    "  vcpu_count INTEGER NOT NULL, mem_size_mib INTEGER NOT NULL,"
    "  boot_args TEXT NOT NULL, vmm TEXT NOT NULL CHECK (vmm IN ('auto', 'firecracker', 'qemu')),"
    "  autostart INTEGER NOT NULL, labels TEXT NOT NULL,"
    "  stop_timeout_ms INTEGER NOT NULL DEFAULT -1,"
    "  boot_wanted INTEGER NOT NULL DEFAULT 1,"
    "  deleting INTEGER NOT NULL DEFAULT 0,"
    "  generation INTEGER NOT NULL DEFAULT 1,"
    "  state TEXT NOT NULL DEFAULT 'creating' CHECK (state IN ('creating', 'stopped', 'starting', 'running',"
    "    'paused', 'stopping', 'deleting', 'failed')),"
    "  observed_generation INTEGER NOT NULL DEFAULT 0,"
    "  observed TEXT NOT NULL DEFAULT '{}',"
    "  pid INTEGER NOT NULL DEFAULT 0, start_time INTEGER NOT NULL DEFAULT 0, boot_id TEXT NOT NULL DEFAULT '',"
    "  boot_done INTEGER NOT NULL DEFAULT 0,"
    "  revision INTEGER NOT NULL DEFAULT 1,"
    "  created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX vms_image ON vms (image);"
    "CREATE TABLE interfaces ("
    "  vm_uid INTEGER NOT NULL REFERENCES vms (uid) ON DELETE CASCADE,"
    "  position INTEGER NOT NULL,"
    "  iface_id TEXT NOT NULL,"
    "  tap TEXT NOT NULL UNIQUE,"
    "  mac TEXT NOT NULL UNIQUE,"
    "  address INTEGER NOT NULL UNIQUE,"
    "  PRIMARY KEY (vm_uid, position)"
    ") STRICT, WITHOUT ROWID;"
    /* A row per address that was ever handed out; vm_uid NULL since freed_ms. */
    "CREATE TABLE leases ("
    "  address INTEGER PRIMARY KEY NOT NULL,"
    "  vm_uid INTEGER REFERENCES vms (uid) ON DELETE SET NULL,"
    "  freed_ms INTEGER NOT NULL DEFAULT 0"
    ") STRICT;"
    "CREATE INDEX leases_vm ON leases (vm_uid);"
    "CREATE INDEX leases_freed ON leases (freed_ms) WHERE vm_uid IS NULL;"
    "CREATE TABLE events ("
    "  seq INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  at_ms INTEGER NOT NULL, type TEXT NOT NULL, resource TEXT NOT NULL, data TEXT NOT NULL"
    ") STRICT;"
    "CREATE TABLE idempotency ("
    "  key TEXT PRIMARY KEY NOT NULL,"
    "  fingerprint TEXT NOT NULL,"
    "  status INTEGER NOT NULL, location TEXT, body TEXT NOT NULL,"
    "  created_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX idempotency_created ON idempotency (created_ms);"
    "CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT;",
    /* What PATCH /network has changed (NULL: as configured), and published ports. */
    "CREATE TABLE network ("
    "  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),"
    "  subnet TEXT, uplink TEXT, masquerade INTEGER, lease_quarantine_s INTEGER,"
    "  generation INTEGER NOT NULL, updated_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE TABLE ports ("
    "  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17)),"
    "  host_port INTEGER NOT NULL CHECK (host_port BETWEEN 1 AND 65535),"
    "  guest_port INTEGER NOT NULL CHECK (guest_port BETWEEN 1 AND 65535),"
    "  vm_uid INTEGER NOT NULL REFERENCES vms (uid) ON DELETE CASCADE,"
    "  position INTEGER NOT NULL,"
    "  PRIMARY KEY (protocol, host_port)"
    ") STRICT, WITHOUT ROWID;"
    "CREATE INDEX ports_vm ON ports (vm_uid, position);",
    /* Repairs that were asked for; done_ms 0 while they are pending. */
    "CREATE TABLE repairs ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  requested_ms INTEGER NOT NULL,"
    "  done_ms INTEGER NOT NULL DEFAULT 0,"
    "  outcome TEXT NOT NULL DEFAULT '{}'"
    ") STRICT;"
    "CREATE INDEX repairs_pending ON repairs (id) WHERE done_ms = 0;",
    /* Firewall policies (id 0: host-wide, else the VM's uid) and address sets; `previous` is what an unconfirmed change goes back to. */
    "CREATE TABLE firewall_state ("
    "  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),"
    "  generation INTEGER NOT NULL, observed_generation INTEGER NOT NULL, error TEXT NOT NULL, since_ms INTEGER NOT NULL"
    ") STRICT;"
    "INSERT INTO firewall_state VALUES (1, 0, 0, '', 0);"
    "CREATE TABLE firewall_policies ("
    "  id INTEGER PRIMARY KEY NOT NULL,"
    "  vm_uid INTEGER REFERENCES vms (uid) ON DELETE CASCADE CHECK (ifnull(vm_uid, 0) = id),"
    "  policy TEXT, previous TEXT,"
    "  generation INTEGER NOT NULL, confirm_until_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL"
    ") STRICT;"
    "CREATE INDEX firewall_policies_vm ON firewall_policies (vm_uid);"
    "CREATE TABLE firewall_sets ("
    "  name TEXT PRIMARY KEY NOT NULL,"
    "  addresses TEXT, previous TEXT,"
    "  generation INTEGER NOT NULL, confirm_until_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL"
    ") STRICT, WITHOUT ROWID;",
    /* The WireGuard egress; `sealed` can be opened by the worker alone. */
    "CREATE TABLE wireguard ("
    "  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),"
    "  generation INTEGER NOT NULL, wanted INTEGER NOT NULL,"
    "  document TEXT NOT NULL, public_key TEXT, warnings INTEGER NOT NULL, sealed BLOB,"
    "  updated_ms INTEGER NOT NULL"
    ") STRICT;",
};

int db_schema_version(void)
{
    return (int)ARRAY_LEN(migrations);
}

static int read_version(sqlite3 *sqlite, int *ret, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(sqlite, "PRAGMA user_version", -1, &stmt, NULL) != SQLITE_OK ||
        sqlite3_step(stmt) != SQLITE_ROW) {
        (void)sqlite3_finalize(stmt);
        return error_set(err, ERR_DATABASE, "the schema version could not be read: %s", sqlite3_errmsg(sqlite));
    }
    *ret = sqlite3_column_int(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return 0;
}

static int apply(sqlite3 *sqlite, int version, struct error *err)
{
    char set_version[64];
    (void)snprintf(set_version, sizeof set_version, "PRAGMA user_version=%d; COMMIT;", version + 1);
    if (sqlite3_exec(sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(sqlite, migrations[version], NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(sqlite, set_version, NULL, NULL, NULL) != SQLITE_OK) {
        (void)error_set(err, ERR_DATABASE, "migration %d failed: %s", version + 1, sqlite3_errmsg(sqlite));
        (void)sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    return 0;
}

int migrate_up(sqlite3 *sqlite, struct error *err)
{
    int version = 0;
    if (read_version(sqlite, &version, err) != 0) {
        return -1;
    }
    if (version > db_schema_version()) {
        return error_set(err, ERR_DATABASE,
                         "the database has schema version %d, this daemon knows %d: it is of a newer smartvmd", version,
                         db_schema_version());
    }
    for (; version < db_schema_version(); version++) {
        if (apply(sqlite, version, err) != 0) {
            return -1;
        }
    }
    return 0;
}

int migrate_check(sqlite3 *sqlite, struct error *err)
{
    int version = 0;
    if (read_version(sqlite, &version, err) != 0) {
        return -1;
    }
    if (version != db_schema_version()) {
        return error_set(err, ERR_DATABASE, "the database has schema version %d, not %d", version, db_schema_version());
    }
    return 0;
}
