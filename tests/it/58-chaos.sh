#!/bin/bash
# limit: 240
# A short run of chaos.sh: one nemesis, by chance, against all workloads. `make chaos` runs all.
CHAOS_S=${CHAOS_S:-5} CHAOS_PICK=${CHAOS_PICK:-1} exec "$(dirname "$0")/chaos.sh"
