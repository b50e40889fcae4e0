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
    /* When a policy or a set came into force; and members that are always there now, null when they have no value. */
    "ALTER TABLE firewall_policies ADD COLUMN applied_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE firewall_sets ADD COLUMN applied_ms INTEGER NOT NULL DEFAULT 0;"
    "UPDATE firewall_policies SET applied_ms = updated_ms;"
    "UPDATE firewall_sets SET applied_ms = updated_ms;"
    "UPDATE firewall_state SET since_ms = CAST(strftime('%s', 'now') AS INTEGER) * 1000;"
    "UPDATE vms SET observed = json_insert(observed, '$.vmm.limits', json('null'), '$.last_exit', json('null'),"
    "  '$.error', json('null'), '$.timings', json('[]')) WHERE json_type(observed, '$.vmm') = 'object';"
    "UPDATE vms SET observed = json_set(observed, '$.timings',"
    "  (SELECT json_group_array(json_insert(value, '$.target', json('null'))) FROM json_each(observed, '$.timings')))"
    "  WHERE json_type(observed, '$.timings') = 'array';",
    /* What the last attempt at the firewall was for, and why it failed; the request that each change came with, which the log names. */
    "ALTER TABLE firewall_state ADD COLUMN error_code TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE firewall_state ADD COLUMN attempted_generation INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE firewall_state ADD COLUMN request TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE network ADD COLUMN request TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE wireguard ADD COLUMN request TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE repairs ADD COLUMN request TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE images ADD COLUMN request TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE vms ADD COLUMN request TEXT NOT NULL DEFAULT '';",
    /* Published ports at one address of the host, and ranges of them. host_ip is all zeroes for every address of its version. */
    "DROP INDEX ports_vm;"
    "ALTER TABLE ports RENAME TO ports_of_before;"
    "CREATE TABLE ports ("
    "  vm_uid INTEGER NOT NULL REFERENCES vms (uid) ON DELETE CASCADE,"
    "  position INTEGER NOT NULL,"
    "  protocol INTEGER NOT NULL CHECK (protocol IN (6, 17)),"
    "  host_ip TEXT NOT NULL,"
    "  host_port INTEGER NOT NULL CHECK (host_port BETWEEN 1 AND 65535),"
    "  guest_port INTEGER NOT NULL CHECK (guest_port BETWEEN 1 AND 65535),"
    "  count INTEGER NOT NULL CHECK (count >= 1 AND host_port + count <= 65536 AND guest_port + count <= 65536),"
    "  PRIMARY KEY (vm_uid, position)"
    ") STRICT, WITHOUT ROWID;"
    "INSERT INTO ports SELECT vm_uid, position, protocol, '0.0.0.0', host_port, guest_port, 1 FROM ports_of_before;"
    "DROP TABLE ports_of_before;"
    "CREATE INDEX ports_taken ON ports (protocol, host_port);",
    /* An answer that is given again has the ETag that it had. */
    "ALTER TABLE idempotency ADD COLUMN etag TEXT;",
    /* Restarts. restart_boot is the boot that the worker wanted by itself, restart_due_ms when it is due (CLOCK_MONOTONIC). */
    "ALTER TABLE vms ADD COLUMN restart_policy TEXT NOT NULL DEFAULT 'never' CHECK (restart_policy IN ('never', 'on-failure', 'always'));"
    "ALTER TABLE vms ADD COLUMN restart_count INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE vms ADD COLUMN restart_boot INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE vms ADD COLUMN restart_streak INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE vms ADD COLUMN restart_due_ms INTEGER NOT NULL DEFAULT 0;"
    "ALTER TABLE vms ADD COLUMN restart_keeps_drives INTEGER NOT NULL DEFAULT 0;",
    /*
     * The definition of a VM as one document (core/vm_config.h), and the one that the process which runs was started by: it was that, as it could not be changed
     * meanwhile. Whatever stands in a column becomes a value of the document, which is checked where it is read.
     */
    "ALTER TABLE vms ADD COLUMN config TEXT NOT NULL DEFAULT '';"
    "ALTER TABLE vms ADD COLUMN boot_config TEXT NOT NULL DEFAULT '';"
    "UPDATE vms SET config = json_object('image', image,"
    "  'machine_config', json_object('vcpu_count', vcpu_count, 'mem_size_mib', mem_size_mib),"
    "  'boot_args', boot_args, 'vmm', vmm,"
    "  'network_interfaces', (SELECT json_group_array(json_object('iface_id', iface_id))"
    "    FROM (SELECT iface_id FROM interfaces WHERE vm_uid = uid ORDER BY position)),"
    "  'ports', (SELECT json_group_array(json_object('host_ip', host_ip, 'host_port', host_port, 'guest_port', guest_port, 'count', count,"
    "    'protocol', iif(protocol = 17, 'udp', 'tcp')))"
    "    FROM (SELECT * FROM ports WHERE vm_uid = uid ORDER BY position)),"
    "  'autostart', json(iif(autostart, 'true', 'false')), 'restart_policy', restart_policy,"
    "  'labels', iif(json_valid(labels), json(labels), labels));"
    "UPDATE vms SET boot_config = config WHERE pid <> 0;"
    "ALTER TABLE vms DROP COLUMN vcpu_count; ALTER TABLE vms DROP COLUMN mem_size_mib; ALTER TABLE vms DROP COLUMN boot_args;"
    "ALTER TABLE vms DROP COLUMN vmm; ALTER TABLE vms DROP COLUMN autostart; ALTER TABLE vms DROP COLUMN labels;"
    "ALTER TABLE vms DROP COLUMN restart_policy;",
    /* An answer that was given before its wait was over: what is waited for by who asks again with `wait`. NULL: the answer is the last one. */
    "ALTER TABLE idempotency ADD COLUMN pending_path TEXT;"
    "ALTER TABLE idempotency ADD COLUMN pending_id TEXT;"
    "ALTER TABLE idempotency ADD COLUMN pending_identity INTEGER;"
    "ALTER TABLE idempotency ADD COLUMN pending_kind INTEGER;"
    "ALTER TABLE idempotency ADD COLUMN pending_up INTEGER;",
    /* What is done once, of whatever kind. The numbers go on where those of repairs were. */
    "CREATE TABLE tasks ("
    "  id INTEGER PRIMARY KEY AUTOINCREMENT,"
    "  kind TEXT NOT NULL,"
    "  subject TEXT NOT NULL DEFAULT '',"
    "  created_ms INTEGER NOT NULL,"
    "  ended_ms INTEGER NOT NULL DEFAULT 0,"
    "  outcome TEXT NOT NULL DEFAULT '{}',"
    "  request TEXT NOT NULL DEFAULT ''"
    ") STRICT;"
    "INSERT INTO tasks SELECT id, 'repair', '', requested_ms, done_ms, outcome, request FROM repairs;"
    "DROP TABLE repairs;"
    "CREATE INDEX tasks_pending ON tasks (id) WHERE ended_ms = 0;",
    /* Keys expire, by a clock of their own (db/idempotency_clock.h). Those that are there are new by it. */
    "ALTER TABLE idempotency ADD COLUMN made_ms INTEGER NOT NULL DEFAULT 0;"
    "DROP INDEX idempotency_created;"
    "CREATE INDEX idempotency_made ON idempotency (made_ms);",
    /*
     * What of the host is reserved for each VM (db/reservations.h), and the sum of it, so that nobody has to add up all of them. held_…: of the process that
     * runs, until it is known to be gone. VMs that are there already are reserved when the database is made ready.
     */
    "CREATE TABLE reservations ("
    "  vm_uid INTEGER PRIMARY KEY NOT NULL REFERENCES vms (uid) ON DELETE CASCADE,"
    "  memory_mib INTEGER NOT NULL CHECK (memory_mib BETWEEN 0 AND 16777216),"
    "  drive_mib INTEGER NOT NULL CHECK (drive_mib BETWEEN 0 AND 1099511627776),"
    "  vcpus INTEGER NOT NULL CHECK (vcpus BETWEEN 0 AND 65536),"
    "  interfaces INTEGER NOT NULL CHECK (interfaces BETWEEN 0 AND 65536),"
    "  held_memory_mib INTEGER NOT NULL DEFAULT 0 CHECK (held_memory_mib BETWEEN 0 AND 16777216),"
    "  held_vcpus INTEGER NOT NULL DEFAULT 0 CHECK (held_vcpus BETWEEN 0 AND 65536)"
    ") STRICT;"
    "CREATE TABLE reserved ("
    "  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),"
    "  memory_mib INTEGER NOT NULL, drive_mib INTEGER NOT NULL, vcpus INTEGER NOT NULL, interfaces INTEGER NOT NULL"
    ") STRICT;"
    "INSERT INTO reserved VALUES (1, 0, 0, 0, 0);"
    "CREATE TRIGGER reservations_added AFTER INSERT ON reservations BEGIN"
    "  UPDATE reserved SET memory_mib = memory_mib + max(new.memory_mib, new.held_memory_mib), drive_mib = drive_mib + new.drive_mib,"
    "    vcpus = vcpus + max(new.vcpus, new.held_vcpus), interfaces = interfaces + new.interfaces;"
    "END;"
    "CREATE TRIGGER reservations_changed AFTER UPDATE ON reservations BEGIN"
    "  UPDATE reserved SET memory_mib = memory_mib + max(new.memory_mib, new.held_memory_mib) - max(old.memory_mib, old.held_memory_mib),"
    "    drive_mib = drive_mib + new.drive_mib - old.drive_mib, vcpus = vcpus + max(new.vcpus, new.held_vcpus) - max(old.vcpus, old.held_vcpus),"
    "    interfaces = interfaces + new.interfaces - old.interfaces;"
    "END;"
    "CREATE TRIGGER reservations_freed AFTER DELETE ON reservations BEGIN"
    "  UPDATE reserved SET memory_mib = memory_mib - max(old.memory_mib, old.held_memory_mib), drive_mib = drive_mib - old.drive_mib,"
    "    vcpus = vcpus - max(old.vcpus, old.held_vcpus), interfaces = interfaces - old.interfaces;"
    "END;"
    /* Members that are always there now: limits of CPU, and of input and output. */
    "UPDATE vms SET observed = json_insert(observed, '$.vmm.limits.cpu_percent', json('null'), '$.vmm.limits.cpu_weight', json('null'),"
    "  '$.vmm.limits.io', json('null')) WHERE json_valid(observed) AND json_type(observed, '$.vmm.limits') = 'object';",
    /* What runs was started without a jail: so it is shown until the worker has looked. */
    "UPDATE vms SET observed = json_set(observed, '$.vmm.jailed', json(iif(pid <> 0, 'false', 'null')), '$.vmm.uid', iif(pid <> 0, 0, NULL))"
    "  WHERE json_valid(observed) AND json_type(observed, '$.vmm') = 'object';",
};

int db_schema_version(void)
{
    return (int)ARRAY_LEN(migrations);
}

static int read_version(sqlite3 *sqlite, int *ret, struct error *err)
{
    sqlite3_stmt *stmt = NULL;
    if (sqlite3_prepare_v2(sqlite, "PRAGMA user_version", -1, &stmt, NULL) != SQLITE_OK || sqlite3_step(stmt) != SQLITE_ROW) {
        (void)error_set(err, ERR_DATABASE, "the schema version could not be read: %s", sqlite3_errmsg(sqlite));
        (void)sqlite3_finalize(stmt);
        return -1;
    }
    *ret = sqlite3_column_int(stmt, 0);
    (void)sqlite3_finalize(stmt);
    return 0;
}

static int apply(sqlite3 *sqlite, int version, int *ret_rc, struct error *err)
{
    char set_version[64];
    (void)snprintf(set_version, sizeof set_version, "PRAGMA user_version=%d; COMMIT;", version + 1);
    if (sqlite3_exec(sqlite, "BEGIN IMMEDIATE", NULL, NULL, NULL) != SQLITE_OK || sqlite3_exec(sqlite, migrations[version], NULL, NULL, NULL) != SQLITE_OK ||
        sqlite3_exec(sqlite, set_version, NULL, NULL, NULL) != SQLITE_OK) {
        *ret_rc = sqlite3_errcode(sqlite);
        (void)error_set(err, ERR_DATABASE, "migration %d failed: %s", version + 1, sqlite3_errmsg(sqlite));
        (void)sqlite3_exec(sqlite, "ROLLBACK", NULL, NULL, NULL);
        return -1;
    }
    return 0;
}

int migrate_version(sqlite3 *sqlite, int *ret, struct error *err)
{
    if (read_version(sqlite, ret, err) != 0) {
        return -1;
    }
    *ret = *ret < 0 || *ret > db_schema_version() ? db_schema_version() : *ret;
    return 0;
}

int migrate_up(sqlite3 *sqlite, int *ret_rc, struct error *err)
{
    return migrate_to(sqlite, db_schema_version(), ret_rc, err);
}

int migrate_to(sqlite3 *sqlite, int wanted, int *ret_rc, struct error *err)
{
    int version = 0;
    int rc = SQLITE_OK;
    ret_rc = ret_rc != NULL ? ret_rc : &rc;
    *ret_rc = SQLITE_OK;
    if (read_version(sqlite, &version, err) != 0) {
        *ret_rc = sqlite3_errcode(sqlite);
        return -1;
    }
    if (version > db_schema_version()) {
        return error_set(err, ERR_DATABASE, "the database has schema version %d, this daemon knows %d: it is of a newer smartvmd", version,
                         db_schema_version());
    }
    for (; version < wanted; version++) {
        if (apply(sqlite, version, ret_rc, err) != 0) {
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
