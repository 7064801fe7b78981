/* SPDX-License-Identifier: Apache-2.0 */
/* localfs [-t MS] [-d] DIR MOUNTPOINT...: mounts filesystems over the store in DIR without
 * consensus, each as a separate host, for tests by hand and by script. Ends when all are unmounted
 * or its input ends. It reads commands from its input: see tests/lib/local_serve.h. -t: timeout of
 * requests, -d: log each request. */
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "tests/lib/local_serve.h"

int main(int argc, char **argv)
{
    struct local_serve_options options = {0};
    int opt;

    while ((opt = getopt(argc, argv, "t:d")) != -1) {
        if (opt == 't')
            options.timeout_ms = (unsigned)atoi(optarg);
        else if (opt == 'd')
            options.debug = true;
        else
            return 2;
    }
    if (argc - optind < 2) {
        fprintf(stderr, "usage: localfs [-t MS] [-d] DIR MOUNTPOINT...\n");
        return 2;
    }
    if (options.debug)
        log_set_level(LOG_LEVEL_DEBUG);
    options.dir = argv[optind];
    options.mountpoints = (const char *const *)&argv[optind + 1];
    options.n = (unsigned)(argc - optind - 1);
    return local_serve(&options, STDIN_FILENO, stdout);
}
