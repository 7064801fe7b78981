/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"
#include "proto/ioctl.h"

/* An ioctl on anything in the mount. fsync(2) is the same barrier, but on a directory it cannot
 * wait for names to be forgotten. */
int cli_sync(int argc, char **argv)
{
    int err = 0;
    int fd;

    if (argc != 2)
        return cli_fail(CLI_USAGE, "usage: coordfs sync PATH");
    fd = open(argv[1], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return cli_fail(CLI_FAILED, "%s: %s", argv[1], strerror(errno));
    if (ioctl(fd, COORDFS_IOC_SYNC) < 0)
        err = errno;
    close(fd);
    return err == 0 ? CLI_OK : cli_fail(CLI_FAILED, "%s: %s", argv[1], strerror(err));
}
