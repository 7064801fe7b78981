/* SPDX-License-Identifier: Apache-2.0 */
/* Looks up internals of the store. (These functions have a separate file because store/internal.h
 * and <uv.h> conflict: both define struct dirent.) */
#ifndef TESTS_SIM_INSIDE_H
#define TESTS_SIM_INSIDE_H

#include "store/store.h"

/* Closes the store of a process that has ended, perhaps within a transaction: commits nothing and
 * tidies up nothing. A store that died while it replaced its database stays as it is. */
void inside_abandon(struct store *s);
bool inside_is_open(const struct store *s);
uint64_t inside_count_replies(struct store *s);

#endif
