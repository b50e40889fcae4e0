/* SQLite's writes and syncs as places for faults: the default VFS with two of its methods replaced. Only part of builds with SMARTVM_FAULTS. */
#include "db/fault_vfs.h"

#include "core/fault.h"

#include <pthread.h>
#include <sqlite3.h>

static sqlite3_vfs vfs;
static sqlite3_vfs *original;
static const sqlite3_io_methods *original_methods; /* of database, WAL and journal files */
static sqlite3_io_methods methods;

static int faulty_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset)
{
    return fault_before("sqlite", "write", NULL) != 0 ? SQLITE_IOERR_WRITE
                                                      : original_methods->xWrite(file, bytes, count, offset);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    return fault_before("sqlite", "sync", NULL) != 0 ? SQLITE_IOERR_FSYNC : original_methods->xSync(file, flags);
}

static int open_file(sqlite3_vfs *ignored, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)ignored;
    int rc = original->xOpen(original, name, file, flags, ret_flags);
    if (rc == SQLITE_OK && original_methods == NULL) {
        methods = *file->pMethods;
        methods.xWrite = faulty_write;
        methods.xSync = faulty_sync;
        original_methods = file->pMethods;
    }
    if (rc == SQLITE_OK && file->pMethods == original_methods) {
        file->pMethods = &methods;
    }
    return rc;
}

static void install(void)
{
    original = sqlite3_vfs_find(NULL);
    vfs = *original;
    vfs.zName = "faulty";
    vfs.xOpen = open_file;
    (void)sqlite3_vfs_register(&vfs, 1);
}

void fault_vfs_install(void)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    (void)pthread_once(&once, install);
}
