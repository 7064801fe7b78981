/* SPDX-License-Identifier: Apache-2.0 */
/* Entries with ephemeral=open that this host's session has made. Such an entry ends when no process
 * of this host has it open any more. The store is asked once, when an entry is made or gets the
 * attribute, so closing other files costs nothing.
 *
 * Reader thread only. */
#ifndef FS_LIFETIME_OPEN_LIFETIME_H
#define FS_LIFETIME_OPEN_LIFETIME_H

#include "proto/command.pb-c.h"

struct fs;
struct open_lifetime;

struct open_lifetimes {
    struct open_lifetime *table;
};

/* Notes a change that this host's session made. */
void open_lifetimes_note(struct fs *fs, const Cfs__Change *c);
/* A handle was closed. */
void open_lifetime_closed(struct fs *fs, uint64_t ino);
void open_lifetimes_forget(struct fs *fs); /* The session has ended, and its ephemeral entries with
                                            * it. */

#endif
