/* SPDX-License-Identifier: Apache-2.0 */
/* One table of texts for the troubles that the user of a command can meet. Each text says the cause
 * and, behind a colon, the remedy; the caller puts the name of the thing in front of it. */
#ifndef CLI_EXPLAIN_H
#define CLI_EXPLAIN_H

enum explain {
    EXPLAIN_NOT_COORDFS,    /* a path is not in a mounted coordfs */
    EXPLAIN_NO_MEMBER,      /* no member belongs to a mount, name or directory */
    EXPLAIN_STOPPED,        /* there is a state directory, but no daemon that uses it */
    EXPLAIN_SOCKET_DENIED,  /* the caller may not use the control socket */
    EXPLAIN_SILENT,         /* the daemon has accepted a request and does not answer */
    EXPLAIN_NO_DATABASE,    /* `check`: no database at the path */
    EXPLAIN_GUARD,          /* the value of user.coordfs.guard names no lock file */
    EXPLAIN_LOCK_DIRECTORY, /* only regular files can be locked */
    EXPLAIN_LOCK_TAKEN,
    EXPLAIN_TOO_LARGE, /* of a transaction */
    EXPLAIN_MAX
};

/* A static string. */
const char *explain_text(enum explain what);

/* strerror(3) of a positive errno, and the remedy where there is one. A static string; the next
 * call may overwrite it. */
const char *explain_errno(int error);

#endif
