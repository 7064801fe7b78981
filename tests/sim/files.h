/* SPDX-License-Identifier: Apache-2.0 */
/* tests/sim/files.c calls these functions; the program that links it defines them. Any thread. */
#ifndef TESTS_SIM_FILES_H
#define TESTS_SIM_FILES_H

#include <stdbool.h>

bool files_ours(const char *path); /* true if the file is on a simulated disk */
bool files_fail(const char *path); /* true if writing to this simulated file fails now */

#endif
