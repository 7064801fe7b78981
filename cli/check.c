/* SPDX-License-Identifier: Apache-2.0 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "cli/cli.h"
#include "store/store.h"

int cli_check(int argc, char **argv)
{
    char why[1024] = "";
    struct stat st;
    char *path;
    bool ok;

    if (argc != 2)
        return cli_fail(CLI_USAGE, "usage: coordfs check STATEDIR|FILE");
    if (stat(argv[1], &st) == 0 && S_ISDIR(st.st_mode))
        path = xasprintf("%s/coordfs.db", argv[1]);
    else
        path = xstrdup(argv[1]);
    ok = store_check_file(path, why, sizeof why);
    if (ok)
        puts("ok");
    else
        cli_fail(0, "%s: %s", path, why);
    free(path);
    return ok ? CLI_OK : CLI_FAILED;
}
