/* SPDX-License-Identifier: Apache-2.0 */
/* Searches for a simpler run with the same violation: leaves out as much trouble as possible. */
#ifndef TESTS_SIM_SHRINK_H
#define TESTS_SIM_SHRINK_H

#include "tests/sim/sim.h"

/* Prints the necessary trouble, and the story of the shortest run that was found. */
void shrink(const struct sim_config *config, const char *error);

#endif
