/* The disk that a file lies on, for limits of its input and output (io.max of cgroup v2 knows whole disks only). Any thread. */
#ifndef SMARTVM_HOST_PROCESS_BLOCK_DEVICE_H
#define SMARTVM_HOST_PROCESS_BLOCK_DEVICE_H

#include <sys/types.h>

/* Of a partition, the disk that it is of. 0: the file is not there, or its file system is on no block device (a tmpfs, or one that spans several disks). */
dev_t block_device_of(const char *path);

#endif
