/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "cli/cli.h"
#include "cli/explain.h"
#include "store/store.h"

/* The path of the database; gives. NULL after a message. */
static char *find_database(const char *where)
{
    struct stat st;
    char *path;

    if (stat(where, &st) == 0 && !S_ISDIR(st.st_mode))
        path = xstrdup(where);
    else
        path = xasprintf("%s/coordfs.db", where);
    if (access(path, R_OK) == 0)
        return path;
    cli_fail(0, "%s: %s", where,
             errno == ENOENT || errno == ENOTDIR ? explain_text(EXPLAIN_NO_DATABASE)
                                                 : explain_errno(errno));
    free(path);
    return NULL;
}

int cli_check(int argc, char **argv)
{
    char why[1024] = "";
    char *path;
    bool ok;

    if (argc != 2)
        return cli_fail(CLI_USAGE, "usage: coordfs check STATEDIR|FILE");
    path = find_database(argv[1]);
    if (path == NULL)
        return CLI_FAILED;
    ok = store_check_file(path, why, sizeof why);
    if (ok)
        puts("ok");
    else
        cli_fail(0, "%s: %s", path, why);
    free(path);
    return ok ? CLI_OK : CLI_FAILED;
}
