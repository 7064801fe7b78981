/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror's process repeats other hosts' changes as system calls on a private clone of the
 * mount, so that the kernel raises the events that it raises for any process's changes. The daemon
 * knows the process by its pid and changes nothing for it (fs/mirror/mirror.h).
 *
 * It is a process and not a thread, because it sleeps in the mount that the daemon serves: a daemon
 * with such a thread could not be killed (its /dev/fuse would stay open). It shares nothing with
 * the daemon but one end of a socket pair, and exits when the daemon does. */
#ifndef FS_MIRROR_MIRROR_CHILD_H
#define FS_MIRROR_MIRROR_CHILD_H

/* argv[1] of the program that becomes the mirror (fs_options.mirror_program). The program must call
 * mirror_child_main before it does anything else. */
#define MIRROR_CHILD_ARGUMENT "--mirror"
#define MIRROR_CHILD_SOCKET   3 /* descriptor */

/* argv: [0], MIRROR_CHILD_ARGUMENT, the mount's id in /proc/self/mountinfo. Returns the exit
 * status. */
int mirror_child_main(int argc, char **argv);

#endif
