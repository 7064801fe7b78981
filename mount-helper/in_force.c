/* SPDX-License-Identifier: Apache-2.0 */
#include "mount-helper/in_force.h"

#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/base.h"

#define DAEMON_NAME "coordfsd"
#define ARGS_MAX    65536 /* of a command line */

/* A command line: strings one after another, each with its NUL; len 0: none. */
static size_t read_args(const char *pid, char args[ARGS_MAX])
{
    char *path = xasprintf("/proc/%s/cmdline", pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    size_t len = 0;
    ssize_t n = 0;

    free(path);
    if (fd < 0)
        return 0;
    while (len < ARGS_MAX - 1 && (n = read(fd, args + len, ARGS_MAX - 1 - len)) > 0)
        len += (size_t)n;
    close(fd);
    args[len] = '\0';
    return n < 0 ? 0 : len;
}

static const char *next_arg(const char *arg, const char *end)
{
    arg += strlen(arg) + 1;
    return arg < end ? arg : NULL;
}

static bool is_daemon(const char *program)
{
    const char *slash = strrchr(program, '/');

    return strcmp(slash != NULL ? slash + 1 : program, DAEMON_NAME) == 0;
}

/* "--key value", "--key=value" and "-o key=value,…" as options; true: --mount is target. */
static bool collect(const char *args, size_t len, const char *target, struct buf *out)
{
    const char *end = args + len;
    const char *arg = next_arg(args, end);
    bool ours = false;

    buf_printf(out, ",");
    for (; arg != NULL; arg = next_arg(arg, end)) {
        const char *value = next_arg(arg, end);

        if (strcmp(arg, "-o") == 0 && value != NULL) {
            buf_printf(out, "%s,", arg = value);
        } else if (strncmp(arg, "--", 2) == 0 && value != NULL && value[0] != '-' &&
                   strchr(arg, '=') == NULL) {
            ours = ours || (strcmp(arg, "--mount") == 0 && strcmp(value, target) == 0);
            buf_printf(out, "%s=%s,", arg + 2, value);
            arg = value;
        } else if (strncmp(arg, "--", 2) == 0) {
            buf_printf(out, "%s,", arg + 2);
        }
    }
    return ours;
}

void in_force_find(const char *target, struct buf *out)
{
    DIR *proc = opendir("/proc");
    char *args = xcalloc(1, ARGS_MAX);
    const struct dirent *entry;
    bool found = false;

    while (!found && proc != NULL && (entry = readdir(proc)) != NULL) {
        size_t len;

        if (!isdigit((unsigned char)entry->d_name[0]))
            continue;
        len = read_args(entry->d_name, args);
        if (len == 0 || !is_daemon(args))
            continue;
        buf_fini(out);
        found = collect(args, len, target, out);
    }
    if (!found)
        buf_fini(out);
    if (proc != NULL)
        closedir(proc);
    free(args);
}

bool in_force_has(const struct buf *options, const char *word)
{
    char *looked_for = xasprintf(",%s,", word);
    bool has = options->len > 0 &&
               memmem(options->data, options->len, looked_for, strlen(looked_for)) != NULL;

    free(looked_for);
    return has;
}
