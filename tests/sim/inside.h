/* SPDX-License-Identifier: Apache-2.0 */
/* What the store does not tell: it is looked up inside. (In a file of its own, because
 * store/internal.h and <uv.h> cannot meet: both have a struct dirent.) */
#ifndef TESTS_SIM_INSIDE_H
#define TESTS_SIM_INSIDE_H

#include "store/store.h"

/* Closes the store of a process that is gone, perhaps in the middle of a transaction: nothing is
 * committed, nothing is tidied up. One that died while it replaced its database stays as it is. */
void inside_abandon(struct store *s);
bool inside_is_open(const struct store *s);
uint64_t inside_count_replies(struct store *s);

#endif
