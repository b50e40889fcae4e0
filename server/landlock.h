/* The whole file system closed to this process, by Landlock (Documentation/userspace-api/landlock.rst). */
#ifndef SMARTVM_SERVER_LANDLOCK_H
#define SMARTVM_SERVER_LANDLOCK_H

#include <stdbool.h>

/* Nothing can be opened, made, removed or renamed any more; what is open stays usable. TCP, too, where the kernel can. False where it has no Landlock. */
bool landlock_close(void);

#endif
