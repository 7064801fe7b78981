/* SPDX-License-Identifier: Apache-2.0 */
/* Entries with ephemeral=open that this host's session has made: they end when nobody on this host
 * has them open any more. Which ones these are is asked of the store when they are made or get the
 * xattr, so closing other files costs nothing.
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

/* A change made by this host's session. */
void open_lifetimes_note(struct fs *fs, const Cfs__Change *c);
/* A handle was closed. */
void open_lifetime_closed(struct fs *fs, uint64_t ino);
void open_lifetimes_forget(struct fs *fs); /* their session has ended, and they with it */

#endif
