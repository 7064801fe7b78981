/* ioctls on any file or directory of a mounted coordfs. */
#ifndef PROTO_IOCTL_H
#define PROTO_IOCTL_H

#include <sys/ioctl.h>

/* The barrier (promise P6): returns 0 when this host has everything that was committed anywhere
 * before the call, and all that is cached here shows it. EINTR, ETIMEDOUT. */
#define IOCTL_SYNC _IO(0xCF, 1)

#endif
