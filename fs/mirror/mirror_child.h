/* SPDX-License-Identifier: Apache-2.0 */
/* The mirror's process: performs other hosts' changes once more, as system calls on a private clone
 * of the mount, so that the kernel raises the events that it raises for any process's changes. The
 * daemon knows it by its pid and changes nothing for it (fs/mirror/mirror.h).
 *
 * A process of its own and not a thread, as it sleeps in the mount that the daemon serves: a daemon
 * with such a thread could not be killed (its /dev/fuse would stay open). It has nothing of the
 * daemon's but one end of a socket pair, and ends with it. */
#ifndef FS_MIRROR_MIRROR_CHILD_H
#define FS_MIRROR_MIRROR_CHILD_H

/* What a program that mounts (fs_options.mirror_program) is started with, as argv[1]; it has to
 * call mirror_child_main then, before anything else. */
#define MIRROR_CHILD_ARGUMENT "--mirror"
#define MIRROR_CHILD_SOCKET   3 /* descriptor */

/* argv: [0], MIRROR_CHILD_ARGUMENT, the mount's id in /proc/self/mountinfo. The exit status. */
int mirror_child_main(int argc, char **argv);

#endif
