/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/path.h"
#include "cli/transact.h"
#include "proto/ioctl.h"
#include "proto/limits.h"

static bool parse_create(int argc, char **argv, struct coordfs_ioc_create *c)
{
    static const struct option options[] = {
        {"sequential", no_argument, NULL, 's'},
        {"ephemeral", optional_argument, NULL, 'e'},
        {"directory", no_argument, NULL, 'd'},
        {"mode", required_argument, NULL, 'm'},
        {0},
    };
    uint32_t mode = UINT32_MAX;
    bool directory = false;
    int o;

    while ((o = cli_option(argc, argv, "sdm:", options)) >= 0) {
        if (o == 's')
            c->flags |= COORDFS_IOC_CREATE_SEQUENTIAL;
        else if (o == 'd')
            directory = true;
        else if (o == 'e' && (optarg == NULL || strcmp(optarg, "session") == 0))
            c->flags |= COORDFS_IOC_CREATE_EPHEMERAL_SESSION;
        else if (o == 'e' && strcmp(optarg, "open") == 0)
            c->flags |= COORDFS_IOC_CREATE_EPHEMERAL_OPEN;
        else if (o == 'e')
            return cli_bad("create: --ephemeral=%s: must be 'session' or 'open'", optarg);
        else if (o != 'm' || !cli_parse_mode(optarg, "create: --mode", &mode))
            return false;
    }
    if (mode == UINT32_MAX)
        mode = directory ? 0777 : 0666;
    c->mode = (directory ? S_IFDIR : S_IFREG) | mode;
    return true;
}

int cli_create(int argc, char **argv)
{
    struct coordfs_ioc_create c = {.umask = cli_umask()};
    char *path, *last;
    int fd, rc, error;

    if (!parse_create(argc, argv, &c))
        return CLI_USAGE;
    if (optind != argc - 1)
        return CLI_SHOW_USAGE;
    path = argv[optind];
    fd = path_open_parent(path, (c.flags & COORDFS_IOC_CREATE_SEQUENTIAL) != 0, &last);
    if (fd < 0)
        return CLI_FAILED;
    error = strlen(last) > LIMIT_NAME_MAX ? ENAMETOOLONG : 0;
    if (error == 0) {
        memcpy(c.name, last, strlen(last));
        error = ioctl(fd, COORDFS_IOC_CREATE, &c) < 0 ? errno : 0;
    }
    if (error == 0)
        printf("%.*s%s\n", (int)(strrchr(path, '/') != NULL ? strrchr(path, '/') + 1 - path : 0),
               path, c.name);
    rc = error == 0 ? CLI_OK : cli_fail(CLI_FAILED, "%s: %s", path, transact_error(error));
    free(last);
    close(fd);
    return fflush(stdout) == 0 ? rc : CLI_FAILED;
}
