/* SQLite's writes and syncs as places for faults: the default VFS with two of its methods replaced. Only part of builds with SMARTVM_FAULTS. */
#include "db/fault_vfs.h"

#include "core/fault.h"

#include <pthread.h>
#include <sqlite3.h>

/* One for each kind of file: the write-ahead log has methods of its own, without locks. */
enum { KINDS_MAX = 4 };

struct kind {
    sqlite3_io_methods methods; /* first: a file's pMethods is its kind */
    const sqlite3_io_methods *original;
};

static sqlite3_vfs vfs;
static sqlite3_vfs *original;
static struct kind kinds[KINDS_MAX];
static pthread_mutex_t kinds_lock = PTHREAD_MUTEX_INITIALIZER;

static const sqlite3_io_methods *original_of(const sqlite3_file *file)
{
    return ((const struct kind *)file->pMethods)->original;
}

static int faulty_write(sqlite3_file *file, const void *bytes, int count, sqlite3_int64 offset)
{
    return fault_before("sqlite", "write", NULL) != 0 ? SQLITE_IOERR_WRITE : original_of(file)->xWrite(file, bytes, count, offset);
}

static int faulty_sync(sqlite3_file *file, int flags)
{
    return fault_before("sqlite", "sync", NULL) != 0 ? SQLITE_IOERR_FSYNC : original_of(file)->xSync(file, flags);
}

static const sqlite3_io_methods *faulty_methods(const sqlite3_io_methods *methods)
{
    const sqlite3_io_methods *result = methods;
    (void)pthread_mutex_lock(&kinds_lock);
    for (size_t i = 0; i < KINDS_MAX && result == methods; i++) {
        if (kinds[i].original == NULL) {
            kinds[i].methods = *methods;
            kinds[i].methods.xWrite = faulty_write;
            kinds[i].methods.xSync = faulty_sync;
            kinds[i].original = methods;
        }
        if (kinds[i].original == methods) {
            result = &kinds[i].methods;
        }
    }
    (void)pthread_mutex_unlock(&kinds_lock);
    return result;
}

static int open_file(sqlite3_vfs *ignored, sqlite3_filename name, sqlite3_file *file, int flags, int *ret_flags)
{
    (void)ignored;
    int rc = original->xOpen(original, name, file, flags, ret_flags);
    if (rc == SQLITE_OK) {
        file->pMethods = faulty_methods(file->pMethods);
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
