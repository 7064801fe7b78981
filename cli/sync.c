#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "cli/cli.h"

/* fsync(2) on anything in the mount is the barrier. */
int cli_sync(int argc, char **argv)
{
    int err = 0;
    int fd;

    if (argc != 2)
        return cli_fail(CLI_USAGE, "usage: coordfs sync PATH");
    fd = open(argv[1], O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return cli_fail(CLI_FAILED, "%s: %s", argv[1], strerror(errno));
    if (fsync(fd) < 0)
        err = errno;
    close(fd);
    return err == 0 ? CLI_OK : cli_fail(CLI_FAILED, "%s: %s", argv[1], strerror(err));
}
