/* coordfs: the command line. */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "cli/cli.h"

static const struct {
    const char *name;
    int (*run)(int argc, char **argv);
    const char *usage;
    const char *help;
} commands[] = {
    {"status", cli_status, "status [--json] MOUNT|NAME|STATEDIR", "what a member knows"},
    {"sync", cli_sync, "sync PATH", "wait until this host has everything committed anywhere"},
    {"check", cli_check, "check STATEDIR|FILE", "verify the database of a stopped member"},
};

int cli_fail(int status, const char *fmt, ...)
{
    va_list args;

    fprintf(stderr, "coordfs: ");
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\n");
    return status;
}

static int help(void)
{
    unsigned i;

    puts("Usage:");
    for (i = 0; i < ARRAY_LEN(commands); i++)
        printf("  coordfs %-38s %s\n", commands[i].usage, commands[i].help);
    return CLI_OK;
}

int main(int argc, char **argv)
{
    unsigned i;

    if (argc < 2)
        return cli_fail(CLI_USAGE, "a command is missing (coordfs help lists them)");
    if (strcmp(argv[1], "help") == 0 || strcmp(argv[1], "--help") == 0)
        return help();
    for (i = 0; i < ARRAY_LEN(commands); i++)
        if (strcmp(argv[1], commands[i].name) == 0)
            return commands[i].run(argc - 1, argv + 1);
    return cli_fail(CLI_USAGE, "unknown command '%s' (coordfs help lists them)", argv[1]);
}
