/* SPDX-License-Identifier: Apache-2.0 */
/* mount.coordfs: mount(8)'s helper for `mount -t coordfs NAME DIR -o …`.
 *
 * It translates mount(8)'s arguments and executes coordfsd. The daemon detaches, and this process
 * exits when the mount is usable. For a remount, coordfsd only asks the running daemon (--remount).
 *   mount.coordfs NAME DIR [-sfnv] [-N NAMESPACE] [-o OPTIONS] [-t coordfs[.SUBTYPE]]
 *   mount.coordfs -V
 * Exit status as mount(8): 0 ok, 1 usage, 2 system error, 32 mount failure. */
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <mntent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/buf.h"
#include "base/version.h"

enum { EXIT_USAGE = 1, EXIT_SYSTEM = 2, EXIT_MOUNT = 32 };

#define DAEMON_NAME "coordfsd"

/* Where to look for the daemon if it is not in the helper's folder: mount(8) clears PATH. */
static const char *const places[] = {"/usr/local/sbin", "/usr/sbin", "/sbin"};

struct request {
    const char *source;
    const char *target;
    struct buf options; /* for the daemon, separated by commas; terminated */
    bool remount;
    bool fake;
    bool sloppy;
    bool version;
};

BASE_PRINTF(2, 3) static int fail(int status, const char *fmt, ...)
{
    va_list args;

    va_start(args, fmt);
    fprintf(stderr, "mount.coordfs: ");
    vfprintf(stderr, fmt, args);
    fprintf(stderr, "\n");
    va_end(args);
    return status;
}

/* ---- Options --------------------------------------------------------------------------------- */

static void take_option(struct request *r, const char *word)
{
    if (strcmp(word, "remount") == 0) {
        r->remount = true;
        return;
    }
    buf_printf(&r->options, "%s%s", r->options.len > 0 ? "," : "", word);
}

static void take_options(struct request *r, const char *list)
{
    char *words = xstrdup(list);
    char *rest = words;
    char *word;

    while ((word = strsep(&rest, ",")) != NULL)
        if (word[0] != '\0')
            take_option(r, word);
    free(words);
}

/* mount(8) puts the two names first; options may be anywhere. */
static bool parse(int argc, char **argv, struct request *r)
{
    int opt;

    while ((opt = getopt(argc, argv, "sfnvVN:o:t:")) != -1) {
        if (opt == 's')
            r->sloppy = true;
        else if (opt == 'f')
            r->fake = true;
        else if (opt == 'V')
            r->version = true;
        else if (opt == 'o')
            take_options(r, optarg);
        else if (opt == '?')
            return false;
    }
    if (r->version)
        return true;
    if (argc - optind != 2)
        return false;
    r->source = argv[optind];
    r->target = argv[optind + 1];
    return true;
}

/* ---- Actions --------------------------------------------------------------------------------- */

/* Looks beside this helper first, so that an installation can be moved, then in the usual folders.
 */
static char *find_daemon(void)
{
    char self[PATH_MAX];
    ssize_t len = readlink("/proc/self/exe", self, sizeof self - 1);
    char *path;
    unsigned i;

    if (len > 0) {
        self[len] = '\0';
        path = xasprintf("%s/" DAEMON_NAME, dirname(self));
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    for (i = 0; i < ARRAY_LEN(places); i++) {
        path = xasprintf("%s/" DAEMON_NAME, places[i]);
        if (access(path, X_OK) == 0)
            return path;
        free(path);
    }
    return NULL;
}

static int start_daemon(struct request *r)
{
    char option_name[] = "-o", name_name[] = "--name", mount_name[] = "--mount";
    char daemon_name[] = DAEMON_NAME;
    char sloppy[] = "--sloppy", remount[] = "--remount";
    char *path = find_daemon();
    char *source = xstrdup(r->source);
    char *target = xstrdup(r->target);
    char *options = r->options.len > 0 ? xstrdup((char *)r->options.data) : xstrdup("rw");
    char *argv[10] = {daemon_name, name_name, source, mount_name, target};
    int argc = 5;

    if (r->sloppy)
        argv[argc++] = sloppy;
    if (r->remount)
        argv[argc++] = remount;
    argv[argc++] = option_name;
    argv[argc] = options;
    if (path == NULL)
        return fail(EXIT_SYSTEM, DAEMON_NAME
                    " is not installed: install coordfs (make install) beside this helper");
    execv(path, argv);
    return fail(EXIT_SYSTEM, "%s: %s", path, strerror(errno));
}

static bool is_coordfs(const char *target)
{
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    const struct mntent *m = NULL;
    bool found = false;

    while (!found && mounts != NULL && (m = getmntent(mounts)) != NULL)
        found = strcmp(m->mnt_dir, target) == 0 && strcmp(m->mnt_type, "fuse.coordfs") == 0;
    if (mounts != NULL)
        endmntent(mounts);
    return found;
}

static int check_target(const char *target)
{
    struct stat st;

    /* A look-up of a mount whose daemon is dead fails; if the daemon does not answer, it never
     * returns. The new daemon finds out which, and unmounts a dead mount. */
    if (is_coordfs(target))
        return 0;
    if (stat(target, &st) < 0)
        return fail(EXIT_MOUNT, "%s: %s", target, strerror(errno));
    if (!S_ISDIR(st.st_mode))
        return fail(EXIT_MOUNT, "%s: %s", target, strerror(ENOTDIR));
    return 0;
}

int main(int argc, char **argv)
{
    struct request r = {.options = BUF_EMPTY};
    int status = 0;

    if (!parse(argc, argv, &r))
        status = fail(EXIT_USAGE, "usage: mount.coordfs NAME DIR [-sfnvV] [-o OPTIONS]");
    else if (r.version)
        puts("mount.coordfs " COORDFS_VERSION);
    else if (r.fake)
        status = 0;
    else if ((status = check_target(r.target)) == 0)
        status = start_daemon(&r);
    buf_fini(&r.options);
    return status;
}
