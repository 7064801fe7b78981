/* SPDX-License-Identifier: Apache-2.0 */
/* A violation in a simpler world: as much of the trouble as possible is left out, as long as the
 * same invariant is violated. */
#ifndef TESTS_SIM_SHRINK_H
#define TESTS_SIM_SHRINK_H

#include "tests/sim/sim.h"

/* Prints what trouble is needed, and the story of the shortest run that was found. */
void shrink(const struct sim_config *config, const char *error);

#endif
