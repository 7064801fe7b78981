/* SPDX-License-Identifier: Apache-2.0 */
/* The daemon's options: `--key value`, and the same keys in mount(8)'s `-o key=value,…`. Options
 * that mount(8) passes along for its own use (nofail, _netdev, user …) are accepted and ignored. */
#ifndef DAEMON_OPTIONS_H
#define DAEMON_OPTIONS_H

#include "base/base.h"
#include "fs/fs.h"
#include "proto/limits.h"
#include "raft/driver.h"

struct options {
    char *name;  /* of the cluster */
    char *state; /* directory; default /var/lib/coordfs/NAME */
    char *mount; /* mountpoint; NULL: a member without a mount */
    char *log;   /* file; NULL: syslog, or standard error in the foreground */
    char *listen;
    uint64_t id;
    struct driver_member members[LIMIT_MEMBERS_MAX]; /* the --peer list; addresses are owned */
    unsigned n_members;
    bool foreground;
    bool remount; /* change a running mount, and exit */
    char *words;  /* "key=value," of all -o, without mount(8)'s own words; NULL: none */
    bool debug_fuse;
    bool sloppy;            /* ignore unknown words in -o */
    unsigned long ms_flags; /* MS_RDONLY … */
    unsigned election_ms;
    unsigned heartbeat_ms; /* 0: a tenth of election_ms */
    unsigned timeout_ms;   /* deadline of changes that hold kernel locks */
    unsigned session_ttl_ms;
    bool strong; /* consistency=strong */
    enum fs_lostlock lostlock;
    bool deny;      /* stale=deny */
    bool no_mirror; /* mirror=off */
    uint64_t compact_every;
    uint64_t compact_trailing;
    int log_level;
};

enum options_action { OPTIONS_RUN, OPTIONS_HELP, OPTIONS_VERSION, OPTIONS_ERROR };

/* Fills *out from the command line. OPTIONS_ERROR: errmsg has one line that names the faulty
 * option. */
enum options_action options_parse(int argc, char **argv, struct options *out, char *errmsg,
                                  size_t errmsg_len);
void options_fini(struct options *o);

/* A remount gives the option "key" or "key=value" to a daemon that runs with *o. True if it is in
 * force already, or can be changed live; otherwise errmsg has one line that names it. */
bool options_accept(const struct options *o, const char *word, char *errmsg, size_t errmsg_len);
/* Changes *o, if the option can be changed live. options_accept has accepted it. */
void options_change(struct options *o, const char *word);

const char *options_lostlock_name(enum fs_lostlock how);

/* Prints the table of options. */
void options_help(void);

#endif
