/* SPDX-License-Identifier: Apache-2.0 */
/* The one place that says which version this is. */
#ifndef BASE_VERSION_H
#define BASE_VERSION_H

/* Of the programs: `coordfs --version`, `coordfsd --version`, `mount.coordfs -V`, status and
 * .coordfs/version. */
#define COORDFS_VERSION "0.2.0"

/* Of the messages between members. Members talk only if their numbers are equal, so every
 * incompatible change of proto/link.proto, peer.proto, app.proto or command.proto raises it. */
#define COORDFS_PROTOCOL 1

#endif
