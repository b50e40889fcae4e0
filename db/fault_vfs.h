/* Makes SQLite's writes and syncs places for faults ("sqlite.write", "sqlite.sync"); nothing in a build without SMARTVM_FAULTS. */
#ifndef SMARTVM_DB_FAULT_VFS_H
#define SMARTVM_DB_FAULT_VFS_H

#ifdef SMARTVM_FAULTS
void fault_vfs_install(void);
#else
static inline void fault_vfs_install(void)
{
}
#endif

#endif
