/* SPDX-License-Identifier: Apache-2.0 */
#include "cli/explain.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/base.h"

static const char *const texts[EXPLAIN_MAX] = {
    [EXPLAIN_NOT_COORDFS] = "not in a mounted coordfs: give a path below a mount ('findmnt -t "
                            "fuse.coordfs' lists them)",
    [EXPLAIN_NO_MEMBER] =
        "no running member found: give a mount ('findmnt -t fuse.coordfs' lists them), the name of "
        "a cluster, or a state directory",
    [EXPLAIN_STOPPED] = "its member is not running: mount it again, or start coordfsd",
    [EXPLAIN_SOCKET_DENIED] =
        "permission denied: only root and the user of the daemon may ask a member: run the command "
        "as root",
    [EXPLAIN_SILENT] = "its member does not answer: look for a stopped coordfsd, and at its log",
    [EXPLAIN_NO_DATABASE] = "no database here: give the state directory of a member (default "
                            "/var/lib/coordfs/NAME), or "
                            "its coordfs.db",
    [EXPLAIN_GUARD] = "Invalid argument: no regular file has this path: a guard is the path of a "
                      "lock file from the root of the "
                      "filesystem ('/x' for /coord/x), or from the guarded directory ('x')",
    [EXPLAIN_LOCK_DIRECTORY] = "cannot be locked: not a regular file: lock a file in it instead",
    [EXPLAIN_LOCK_TAKEN] = "another process holds the lock: 'coordfs locks' shows which",
    [EXPLAIN_TOO_LARGE] = "too much for one transaction (1 MiB): split it, or use cp",
};

static const struct {
    int error;
    const char *remedy;
} remedies[] = {
    {ENOTCONN, "the daemon of this mount has ended: mount it again"},
    {ECONNABORTED, "the daemon of this mount has ended: mount it again"},
    {ESTALE, "the host's session was replaced, or the file was removed: open it again"},
    {ETIMEDOUT, "no quorum, or no answer in time: 'coordfs status' shows the members"},
    {EDQUOT, "raise user.coordfs.quota.bytes or .entries of a directory above, or remove files"},
    {EROFS, "mount it with rw"},
    {EACCES, "look at the permissions, or run the command as root"},
};

const char *explain_text(enum explain what)
{
    check(what < EXPLAIN_MAX && texts[what] != NULL);
    return texts[what];
}

const char *explain_errno(int error)
{
    static char text[256];

    if (error == ENOTTY)
        return explain_text(EXPLAIN_NOT_COORDFS);
    for (size_t i = 0; i < ARRAY_LEN(remedies); i++) {
        if (remedies[i].error != error)
            continue;
        snprintf(text, sizeof text, "%s: %s", strerror(error), remedies[i].remedy);
        return text;
    }
    return strerror(error);
}
