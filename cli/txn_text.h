/* SPDX-License-Identifier: Apache-2.0 */
/* Transactions as text: one step per line.
 *
 *   check PATH exists | absent | locked
 *   check PATH version N | cversion N | aversion N | hash XXH3
 *   put PATH CONTENT [mode=M] [sequential] [ephemeral=session|open]      replaces the content
 *   append PATH CONTENT …                                                appends to the content
 *   create PATH [mode=M] [sequential] [ephemeral=…]                      PATH must not exist
 *   mkdir PATH [MODE] [sequential] [ephemeral=…]
 *   symlink TARGET PATH          ln EXISTING NEW          mv OLD NEW [noreplace|exchange]
 *   rm PATH                      rmdir PATH
 *   setattr PATH mode M | uid N | gid N | size N | mtime now|SECONDS | atime … (several pairs)
 *   setxattr PATH NAME VALUE     rmxattr PATH NAME
 *
 * cli/tokenizer.h splits the lines into words.
 *
 * Relative paths begin at the transaction's directory. Absolute paths are paths of this host and
 * must lead into the same mount. */
#ifndef CLI_TXN_TEXT_H
#define CLI_TXN_TEXT_H

#include "cli/path.h"
#include "proto/command.pb-c.h"

struct txn_text {
    Cfs__Txn *txn;   /* without cred and dir */
    unsigned *lines; /* of each step */
    char **verbs;    /* of each step */
};

/* 0, or -EINVAL with one line in errmsg that names the faulty word. `mounted` resolves absolute
 * paths; if it is NULL, absolute paths are errors. */
int txn_text_parse(const char *text, size_t len, const struct path_mount *mounted,
                   unsigned umask_bits, struct txn_text *out, char *errmsg, size_t errmsg_len);
void txn_text_fini(struct txn_text *t);

#endif
