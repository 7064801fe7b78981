/* SPDX-License-Identifier: Apache-2.0 */
/* The first catching up of a member: the mount is ready when this member has everything that was
 * committed anywhere before it was mounted, so the first read is not older. Without a majority the
 * mount is ready all the same after timeout=, and after CATCH_UP_MAX_MS at the latest; a warning
 * and a line of health say so until the member has caught up. */
#ifndef DAEMON_CATCH_UP_H
#define DAEMON_CATCH_UP_H

#include "daemon/daemon.h"

#define CATCH_UP_MAX_MS 8000

/* Any thread but the loop's; once. Waits for a barrier. */
void catch_up_wait(struct daemon *d);
/* Another thread: ends the waiting, now or when it begins. */
void catch_up_cancel(struct daemon *d);

#endif
