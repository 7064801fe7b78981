/* Entries with ephemeral=open that this host's session has made: they end when nobody on this host
 * has them open any more. Which ones these are is asked of the store when they are made or get the
 * xattr, so closing other files costs nothing.
 *
 * Reader thread only. */
#ifndef FS_MORTAL_H
#define FS_MORTAL_H

#include "proto/command.pb-c.h"

struct fs;
struct mortal;

struct mortals {
    struct mortal *table;
};

/* A change made by this host's session. */
void mortals_note(struct fs *fs, const Cfs__Change *c);
/* A handle was closed. */
void mortal_closed(struct fs *fs, uint64_t ino);
void mortals_forget(struct fs *fs); /* their session has ended, and they with it */

#endif
