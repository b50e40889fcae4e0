/*
 * A database as it was before the definition of a VM was one document: schema version 10, made by the migrations of that daemon, with rows in its tables,
 * as text (sqlite3's .dump). It is never changed: a newer version is another file.
 */
#ifndef SMARTVM_TESTS_UNIT_DB_OLD_10_H
#define SMARTVM_TESTS_UNIT_DB_OLD_10_H

static const char *const old_10[] = {
    "BEGIN TRANSACTION;",
    "CREATE TABLE events (  seq INTEGER PRIMARY KEY AUTOINCREMENT,  at_ms INTEGER NOT NULL, type TEXT NOT NULL, resource TEXT NOT NULL, data "
    "TEXT NOT NULL) STRICT;",
    "INSERT INTO \"events\" VALUES(1,1764370001000,'vm.created','vms/web','{}');",
    "CREATE TABLE facts (name TEXT PRIMARY KEY NOT NULL, value TEXT NOT NULL) STRICT;",
    "INSERT INTO \"facts\" VALUES('host','{\"memory_mib\":1024}');",
    "CREATE TABLE firewall_policies (  id INTEGER PRIMARY KEY NOT NULL,  vm_uid INTEGER REFERENCES vms (uid) ON DELETE CASCADE CHECK "
    "(ifnull(vm_uid, 0) = id),  policy TEXT, previous TEXT,  generation INTEGER NOT NULL, confirm_until_ms INTEGER NOT NULL, updated_ms INTEGER "
    "NOT NULL, applied_ms INTEGER NOT NULL DEFAULT 0) STRICT;",
    "INSERT INTO \"firewall_policies\" VALUES(3,3,'{}',NULL,1,0,1764370001000,0);",
    "CREATE TABLE firewall_sets (  name TEXT PRIMARY KEY NOT NULL,  addresses TEXT, previous TEXT,  generation INTEGER NOT NULL, "
    "confirm_until_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, applied_ms INTEGER NOT NULL DEFAULT 0) STRICT, WITHOUT ROWID;",
    "INSERT INTO \"firewall_sets\" VALUES('office','[\"192.0.2.0/24\"]',NULL,1,0,1764370001000,0);",
    "CREATE TABLE firewall_state (  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),  generation INTEGER NOT NULL, observed_generation INTEGER "
    "NOT NULL, error TEXT NOT NULL, since_ms INTEGER NOT NULL, error_code TEXT NOT NULL DEFAULT '', attempted_generation INTEGER NOT NULL "
    "DEFAULT 0, request TEXT NOT NULL DEFAULT '') STRICT;",
    "INSERT INTO \"firewall_state\" VALUES(1,0,0,'',1795914650000,'',0,'');",
    "CREATE TABLE idempotency (  key TEXT PRIMARY KEY NOT NULL,  fingerprint TEXT NOT NULL,  status INTEGER NOT NULL, location TEXT, body TEXT "
    "NOT NULL,  created_ms INTEGER NOT NULL, etag TEXT) STRICT;",
    "INSERT INTO \"idempotency\" VALUES('k','f',201,'/vms/web','{}',1764370001000,'\"3-1\"');",
    "CREATE TABLE images (  id TEXT PRIMARY KEY NOT NULL,  manifest TEXT NOT NULL,  state TEXT NOT NULL CHECK (state IN ('importing', 'ready', "
    "'failed', 'deleting')),  observed TEXT NOT NULL DEFAULT '{}',  kernel_sha256 TEXT, rootfs_sha256 TEXT, initrd_sha256 TEXT,  revision "
    "INTEGER NOT NULL DEFAULT 1,  created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, request TEXT NOT NULL DEFAULT '') STRICT;",
    "INSERT INTO \"images\" VALUES('tiny','{\"arch\":\"x86_64\"}','ready','{}','aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa',"
    "'bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb',NULL,1,1764370000000,1764370000000,'');",
    "CREATE TABLE interfaces (  vm_uid INTEGER NOT NULL REFERENCES vms (uid) ON DELETE CASCADE,  position INTEGER NOT NULL,  iface_id TEXT NOT "
    "NULL,  tap TEXT NOT NULL UNIQUE,  mac TEXT NOT NULL UNIQUE,  address INTEGER NOT NULL UNIQUE,  PRIMARY KEY (vm_uid, position)) STRICT, "
    "WITHOUT ROWID;",
    "INSERT INTO \"interfaces\" VALUES(3,0,'eth0','svbr0t2','02:00:00:00:00:02',2887647234);",
    "INSERT INTO \"interfaces\" VALUES(3,1,'eth1','svbr0t3','02:00:00:00:00:03',2887647235);",
    "INSERT INTO \"interfaces\" VALUES(5,0,'net0','svbr0t4','02:00:00:00:00:04',2887647236);",
    "CREATE TABLE leases (  address INTEGER PRIMARY KEY NOT NULL,  vm_uid INTEGER REFERENCES vms (uid) ON DELETE SET NULL,  freed_ms INTEGER NOT "
    "NULL DEFAULT 0) STRICT;",
    "INSERT INTO \"leases\" VALUES(2887647234,3,0);",
    "INSERT INTO \"leases\" VALUES(2887647235,3,0);",
    "INSERT INTO \"leases\" VALUES(2887647236,5,0);",
    "CREATE TABLE network (  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),  subnet TEXT, uplink TEXT, masquerade INTEGER, lease_quarantine_s "
    "INTEGER,  generation INTEGER NOT NULL, updated_ms INTEGER NOT NULL, request TEXT NOT NULL DEFAULT '') STRICT;",
    "INSERT INTO \"network\" VALUES(1,NULL,'wan0',0,9,3,1764370001000,'');",
    "CREATE TABLE ports (  vm_uid INTEGER NOT NULL REFERENCES vms (uid) ON DELETE CASCADE,  position INTEGER NOT NULL,  protocol INTEGER NOT "
    "NULL CHECK (protocol IN (6, 17)),  host_ip TEXT NOT NULL,  host_port INTEGER NOT NULL CHECK (host_port BETWEEN 1 AND 65535),  guest_port "
    "INTEGER NOT NULL CHECK (guest_port BETWEEN 1 AND 65535),  count INTEGER NOT NULL CHECK (count >= 1 AND host_port + count <= 65536 AND "
    "guest_port + count <= 65536),  PRIMARY KEY (vm_uid, position)) STRICT, WITHOUT ROWID;",
    "INSERT INTO \"ports\" VALUES(3,0,6,'0.0.0.0',8080,80,3);",
    "INSERT INTO \"ports\" VALUES(3,1,17,'127.0.0.1',5353,53,1);",
    "INSERT INTO \"ports\" VALUES(3,2,6,'2001:db8::1',443,443,1);",
    "CREATE TABLE repairs (  id INTEGER PRIMARY KEY AUTOINCREMENT,  requested_ms INTEGER NOT NULL,  done_ms INTEGER NOT NULL DEFAULT 0,  outcome "
    "TEXT NOT NULL DEFAULT '{}', request TEXT NOT NULL DEFAULT '') STRICT;",
    "INSERT INTO \"repairs\" VALUES(1,1764370001000,1764370002000,'{}','');",
    "CREATE TABLE vms (  uid INTEGER PRIMARY KEY AUTOINCREMENT,  id TEXT NOT NULL UNIQUE,  image TEXT NOT NULL REFERENCES images (id),  "
    "desired_state TEXT NOT NULL CHECK (desired_state IN ('running', 'stopped', 'paused')),  vcpu_count INTEGER NOT NULL, mem_size_mib INTEGER "
    "NOT NULL,  boot_args TEXT NOT NULL, vmm TEXT NOT NULL CHECK (vmm IN ('auto', 'firecracker', 'qemu')),  autostart INTEGER NOT NULL, labels "
    "TEXT NOT NULL,  stop_timeout_ms INTEGER NOT NULL DEFAULT -1,  boot_wanted INTEGER NOT NULL DEFAULT 1,  deleting INTEGER NOT NULL DEFAULT 0, "
    " generation INTEGER NOT NULL DEFAULT 1,  state TEXT NOT NULL DEFAULT 'creating' CHECK (state IN ('creating', 'stopped', 'starting', "
    "'running',    'paused', 'stopping', 'deleting', 'failed')),  observed_generation INTEGER NOT NULL DEFAULT 0,  observed TEXT NOT NULL "
    "DEFAULT '{}',  pid INTEGER NOT NULL DEFAULT 0, start_time INTEGER NOT NULL DEFAULT 0, boot_id TEXT NOT NULL DEFAULT '',  boot_done INTEGER "
    "NOT NULL DEFAULT 0,  revision INTEGER NOT NULL DEFAULT 1,  created_ms INTEGER NOT NULL, updated_ms INTEGER NOT NULL, request TEXT NOT NULL "
    "DEFAULT '', restart_policy TEXT NOT NULL DEFAULT 'never' CHECK (restart_policy IN ('never', 'on-failure', 'always')), restart_count INTEGER "
    "NOT NULL DEFAULT 0, restart_boot INTEGER NOT NULL DEFAULT 0, restart_streak INTEGER NOT NULL DEFAULT 0, restart_due_ms INTEGER NOT NULL "
    "DEFAULT 0, restart_keeps_drives INTEGER NOT NULL DEFAULT 0) STRICT;",
    "INSERT INTO \"vms\" VALUES(3,'web','tiny','running',2,512,'quiet \"x y\" "
    "a=''b''','firecracker',1,'{\"env\":\"prod\",\"a/b\":\"\303\244\\\"\\\\\"}',-1,4,0,7,'running',7,'{\"vmm\":{\"requested\":\"firecracker\",\"driver\":"
    "\"firecracker\",\"version\":\"1.12.1\",\"accelerator\":\"kvm\",\"reason\":\"asked "
    "for\",\"pid\":4321,\"limits\":null},\"conditions\":[],\"timings\":[],\"drives\":[],\"last_exit\":null,\"error\":null}',4321,99887,'0f8fad5b-d"
    "9cb-469f-a165-70867728950e',4,21,1764370001000,1764370002000,'req-7','on-failure',2,4,1,123456,1);",
    "INSERT INTO \"vms\" VALUES(5,'idle','tiny','stopped',1,128,'','auto',0,'{}',0,1,0,2,'stopped',2,'{}',0,0,'',1,5,1764370003000,1764370004000,'"
    "','never',0,0,0,0,0);",
    "INSERT INTO \"vms\" VALUES(6,'odd','tiny','paused',3,64,'x','qemu',0,'no "
    "JSON',-1,1,1,1,'creating',0,'{}',0,0,'',0,1,1764370005000,1764370005000,'','always',0,0,0,0,0);",
    "CREATE TABLE wireguard (  id INTEGER PRIMARY KEY NOT NULL CHECK (id = 1),  generation INTEGER NOT NULL, wanted INTEGER NOT NULL,  document "
    "TEXT NOT NULL, public_key TEXT, warnings INTEGER NOT NULL, sealed BLOB,  updated_ms INTEGER NOT NULL, request TEXT NOT NULL DEFAULT '') "
    "STRICT;",
    "INSERT INTO \"wireguard\" VALUES(1,2,0,'{}',NULL,0,NULL,1764370001000,'');",
    "CREATE INDEX vms_image ON vms (image);",
    "CREATE INDEX leases_vm ON leases (vm_uid);",
    "CREATE INDEX leases_freed ON leases (freed_ms) WHERE vm_uid IS NULL;",
    "CREATE INDEX idempotency_created ON idempotency (created_ms);",
    "CREATE INDEX repairs_pending ON repairs (id) WHERE done_ms = 0;",
    "CREATE INDEX firewall_policies_vm ON firewall_policies (vm_uid);",
    "CREATE INDEX ports_taken ON ports (protocol, host_port);",
    "DELETE FROM \"sqlite_sequence\";",
    "INSERT INTO \"sqlite_sequence\" VALUES('vms',6);",
    "INSERT INTO \"sqlite_sequence\" VALUES('events',1);",
    "INSERT INTO \"sqlite_sequence\" VALUES('repairs',1);",
    "COMMIT;",
    "PRAGMA user_version=10;",
};

#endif
