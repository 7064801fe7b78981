/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/explain.h"
#include "cli/path.h"
#include "proto/ioctl.h"

/* coordfs sync: the ioctl works on anything in the mount. fsync(2) is the same barrier, but on a
 * directory it cannot wait until the kernel has dropped old names. */
int cli_sync(int argc, char **argv)
{
    int err, fd;

    if (argc != 2)
        return CLI_SHOW_USAGE;
    fd = path_open(argv[1], O_RDONLY, 0);
    if (fd < 0)
        return CLI_FAILED;
    err = ioctl(fd, COORDFS_IOC_SYNC) < 0 ? errno : 0;
    close(fd);
    return err == 0 ? CLI_OK : cli_fail(CLI_FAILED, "%s: %s", argv[1], explain_errno(err));
}
