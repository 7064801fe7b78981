/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/files.c calls these, which the program that links it defines. Any thread. */
#ifndef TESTS_SIM_FILES_H
#define TESTS_SIM_FILES_H

#include <stdbool.h>

bool files_ours(const char *path); /* is it on a disk that can lose things? */
bool files_fail(const char *path); /* of ours: writing fails just now */

#endif
