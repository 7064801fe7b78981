/* SPDX-License-Identifier: Apache-2.0 */
/* Fuzzers for clang's libFuzzer. Each is a separate program. Bytes from outside must never do harm.
 */
#ifndef TESTS_FUZZ_FUZZ_H
#define TESTS_FUZZ_FUZZ_H

#include <stddef.h>
#include <stdint.h>

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t len);

#endif
