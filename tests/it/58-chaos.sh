#!/bin/bash
# limit: 240
# A short run of chaos.sh: two nemeses, by chance, against all workloads. `make chaos` runs all.
CHAOS_S=${CHAOS_S:-4} CHAOS_PICK=${CHAOS_PICK:-2} exec "$(dirname "$0")/chaos.sh"
