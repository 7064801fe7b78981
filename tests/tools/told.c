/* SPDX-License-Identifier: Apache-2.0 */
/* Checks that no host sees an older state of a name than the state that the host already knows. Two
 * or three hosts make one call each at the same moment, about two names (n, m) of one directory
 * that all of them have just read. Then each host reads both names and the list, or makes a file at
 * n.
 *
 *   told [-s] [-r SEED] [-o CALL]… ROUNDS MOUNT MOUNT [MOUNT]
 *
 * ROUNDS of each pair of calls (with three mounts: of each pair, and a random third call). -s: the
 * mounts have consistency=strong: no result may be older than any result that had been returned on
 * any host when the call began. -o: only pairs with this call.
 *
 * The model. Successful changes happened in some order; a change that had returned before another
 * one began comes first. Each other result of a host (errors, stat, list, the file that was opened)
 * shows the state of one name or both at some place in that order. For each name, this place must
 * not precede what the same host has learned earlier from its own changes or from errors. A round
 * is wrong if no such order exists. Each object has a different mode, which identifies it.
 *
 * Prints wrong rounds, and one line: the number of rounds and of wrong rounds. Exit status 1 if a
 * round was wrong. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/base.h"
#include "base/clock.h"

#define HOSTS_MAX  3
#define RESULTS    5 /* of each host in a round */
#define CHANGES    (HOSTS_MAX * 2)
#define NAMES      2
#define SHOWN_MAX  20
#define SPIN_US    400   /* largest delay of a host's call */
#define TAG_FIRST  0600u /* modes of the first objects, then of those that hosts make */
#define TAG_MADE   0610u
#define WAIT_TRIES 20000

enum call {
    CREATE,
    EXCL,
    TRUNCATE,
    MKDIR,
    UNLINK,
    RMDIR,
    RENAME,
    EXCHANGE,
    LINK,
    STAT,
    LIST,
    CALLS,
    STAT_M = CALLS,
};

static const char *const call_names[] = {
    [CREATE] = "create", [EXCL] = "excl",   [TRUNCATE] = "truncate", [MKDIR] = "mkdir",
    [UNLINK] = "unlink", [RMDIR] = "rmdir", [RENAME] = "rename",     [EXCHANGE] = "exchange",
    [LINK] = "link",     [STAT] = "stat",   [LIST] = "list",         [STAT_M] = "stat m",
};

struct result {
    enum call call;
    int err;         /* 0 or positive */
    unsigned object; /* the object that was opened, or that stat shows: its mode; 0: none */
    unsigned made;   /* the object that the call would make */
    bool listed[NAMES];
    uint64_t began_us, ended_us;
};

struct host {
    pthread_t thread;
    const char *mount;
    unsigned number;
    unsigned seed;
    enum call call;
    bool opens; /* opens a file at n in place of reading */
    char paths[NAMES][PATH_MAX];
    char dir[PATH_MAX];
    struct result results[RESULTS];
    unsigned n;
};

struct state {
    unsigned at[NAMES]; /* modes; 0: no object */
};

static struct {
    bool strong;
    unsigned rounds, n_hosts, seed;
    bool only[CALLS], any_only;
} options = {.seed = 1};

static struct host hosts[HOSTS_MAX];
static struct state start;
static pthread_barrier_t begin, end;
static atomic_bool over;
static unsigned wrong, shown, done;

/* ---- The calls ------------------------------------------------------------------------------- */

static void give_up(const char *what, const char *path)
{
    fprintf(stderr, "told: %s %s: %s\n", what, path, strerror(errno));
    exit(2);
}

static int opened(struct result *r, const char *path, int flags)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC | flags, r->made & 07777);
    struct stat st;

    if (fd < 0)
        return errno;
    if (fstat(fd, &st) != 0)
        give_up("fstat", path);
    r->object = st.st_mode;
    close(fd);
    return 0;
}

static int shown_at(struct result *r, const char *path)
{
    struct stat st;

    if (lstat(path, &st) != 0)
        return errno;
    r->object = st.st_mode;
    return 0;
}

static int listed(struct result *r, const char *path)
{
    DIR *dir = opendir(path);
    const struct dirent *e;

    if (dir == NULL)
        return errno;
    while ((e = readdir(dir)) != NULL) {
        r->listed[0] = r->listed[0] || strcmp(e->d_name, "n") == 0;
        r->listed[1] = r->listed[1] || strcmp(e->d_name, "m") == 0;
    }
    closedir(dir);
    return 0;
}

static int outcome(int rv)
{
    return rv == 0 ? 0 : errno;
}

static int perform(const struct host *h, struct result *r)
{
    const char *n = h->paths[0], *m = h->paths[1];

    switch (r->call) {
    case CREATE:
        return opened(r, n, O_CREAT);
    case EXCL:
        return opened(r, n, O_CREAT | O_EXCL);
    case TRUNCATE:
        return opened(r, n, O_TRUNC);
    case MKDIR:
        return outcome(mkdir(n, r->made & 07777));
    case UNLINK:
        return outcome(unlink(n));
    case RMDIR:
        return outcome(rmdir(n));
    case RENAME:
        return outcome(rename(n, m));
    case EXCHANGE:
        return outcome(renameat2(AT_FDCWD, n, AT_FDCWD, m, RENAME_EXCHANGE));
    case LINK:
        return outcome(link(n, m));
    case STAT:
        return shown_at(r, n);
    case LIST:
        return listed(r, h->dir);
    case STAT_M:
        return shown_at(r, m);
    }
    return EINVAL;
}

static void make_call(struct host *h, enum call call)
{
    struct result *r = &h->results[h->n];

    check(h->n < RESULTS);
    memset(r, 0, sizeof(*r));
    r->call = call;
    r->made = (call == MKDIR ? S_IFDIR : S_IFREG) | (TAG_MADE + 010 * h->number + h->n);
    r->began_us = clock_boot_us();
    r->err = perform(h, r);
    r->ended_us = clock_boot_us();
    h->n++;
}

static void spin(struct host *h)
{
    uint64_t until = clock_boot_us() + (uint64_t)rand_r(&h->seed) % SPIN_US;

    while (clock_boot_us() < until)
        continue;
}

static void *host_run(void *arg)
{
    struct host *h = arg;

    for (;;) {
        pthread_barrier_wait(&begin);
        if (atomic_load(&over))
            return NULL;
        spin(h);
        make_call(h, h->call);
        if (h->opens)
            make_call(h, CREATE);
        make_call(h, STAT);
        make_call(h, STAT_M);
        make_call(h, LIST);
        pthread_barrier_wait(&end);
    }
}

/* ---- The model ------------------------------------------------------------------------------- */

static bool is_dir(unsigned object)
{
    return S_ISDIR(object);
}

/* The error of the call for these objects at the names; 0: it succeeds. */
static int model_error(enum call call, unsigned n, unsigned m)
{
    switch (call) {
    case CREATE:
        return is_dir(n) ? EISDIR : 0;
    case EXCL:
    case MKDIR:
        return n != 0 ? EEXIST : 0;
    case TRUNCATE:
        return n == 0 ? ENOENT : is_dir(n) ? EISDIR : 0;
    case UNLINK:
        return n == 0 ? ENOENT : is_dir(n) ? EISDIR : 0;
    case RMDIR:
        return n == 0 ? ENOENT : !is_dir(n) ? ENOTDIR : 0;
    case RENAME:
        if (n == 0 || m == 0 || n == m)
            return n == 0 ? ENOENT : 0;
        return is_dir(n) == is_dir(m) ? 0 : is_dir(m) ? EISDIR : ENOTDIR;
    case EXCHANGE:
        return n == 0 || m == 0 ? ENOENT : 0;
    case LINK:
        return n == 0 ? ENOENT : m != 0 ? EEXIST : is_dir(n) ? EPERM : 0;
    case STAT:
        return n == 0 ? ENOENT : 0;
    case STAT_M:
        return m == 0 ? ENOENT : 0;
    case LIST:
    default:
        return 0;
    }
}

static void model_change(struct state *s, const struct result *r)
{
    unsigned n = s->at[0], m = s->at[1];

    switch (r->call) {
    case CREATE:
    case EXCL:
    case MKDIR:
        s->at[0] = r->made;
        break;
    case UNLINK:
    case RMDIR:
        s->at[0] = 0;
        break;
    case RENAME:
        if (n == m)
            break;
        s->at[0] = 0;
        s->at[1] = n;
        break;
    case EXCHANGE:
        s->at[0] = m;
        s->at[1] = n;
        break;
    case LINK:
        s->at[1] = n;
        break;
    case TRUNCATE:
    case STAT:
    case STAT_M:
    case LIST:
    default:
        break;
    }
}

static bool is_change(const struct result *r)
{
    static const bool changes[CALLS + 1] = {
        [EXCL] = true,   [MKDIR] = true,    [UNLINK] = true, [RMDIR] = true,
        [RENAME] = true, [EXCHANGE] = true, [LINK] = true,
    };

    if (r->err != 0)
        return false;
    return changes[r->call] || (r->call == CREATE && r->object == r->made);
}

static bool touches(enum call call, unsigned name)
{
    if (call == RENAME || call == EXCHANGE || call == LINK || call == LIST)
        return true;
    return (call == STAT_M) == (name == 1);
}

struct order {
    const struct result *changes[CHANGES];
    struct state states[CHANGES + 1];
    unsigned n;
};

/* True if the result fits the names in these two states. */
static bool fits(const struct result *r, const struct state *for_n, const struct state *for_m)
{
    unsigned n = for_n->at[0], m = for_m->at[1];

    if (r->call == LIST)
        return r->err == 0 && r->listed[0] == (n != 0) && r->listed[1] == (m != 0);
    if (r->err != model_error(r->call, n, m))
        return false;
    if (r->err != 0)
        return true;
    if (r->call == STAT_M)
        return r->object == m;
    return r->object == n;
}

/* Position of the newest change that had returned when the result's call began. */
static unsigned settled(const struct order *o, const struct result *r)
{
    unsigned at = 0;

    for (unsigned i = 0; i < o->n; i++)
        if (o->changes[i]->ended_us < r->began_us)
            at = i + 1;
    return at;
}

static bool explains_from(const struct order *o, const struct host *h, unsigned i,
                          const unsigned told[NAMES]);

static bool explains_change(const struct order *o, const struct host *h, unsigned i,
                            const unsigned told[NAMES])
{
    unsigned at = 0, next[NAMES] = {told[0], told[1]};

    while (o->changes[at] != &h->results[i])
        at++;
    for (unsigned name = 0; name < NAMES; name++) {
        if (!touches(h->results[i].call, name))
            continue;
        if (told[name] > at) /* older than the host's knowledge */
            return false;
        next[name] = at + 1;
    }
    return explains_from(o, h, i + 1, next);
}

static bool explains_from(const struct order *o, const struct host *h, unsigned i,
                          const unsigned told[NAMES])
{
    const struct result *r = &h->results[i];
    unsigned from[NAMES] = {told[0], told[1]}, next[NAMES];

    if (i == h->n)
        return true;
    if (is_change(r))
        return explains_change(o, h, i, told);
    for (unsigned name = 0; options.strong && name < NAMES; name++)
        from[name] = (unsigned)max_u64(from[name], settled(o, r));
    for (unsigned a = from[0]; a <= o->n; a++)
        for (unsigned b = from[1]; b <= o->n; b++) {
            if (!fits(r, &o->states[a], &o->states[b]))
                continue;
            next[0] = touches(r->call, 0) ? a : told[0];
            next[1] = touches(r->call, 1) ? b : told[1];
            if (explains_from(o, h, i + 1, next))
                return true;
        }
    return false;
}

static bool explains(const struct order *o)
{
    static const unsigned nothing[NAMES];

    for (unsigned i = 0; i < options.n_hosts; i++)
        if (!explains_from(o, &hosts[i], 0, nothing))
            return false;
    return true;
}

/* True if the change may come next in the order. */
static bool may_follow(const struct order *o, const struct result *r,
                       const struct result *const *all, unsigned n, const bool *used)
{
    for (unsigned i = 0; i < n; i++)
        if (!used[i] && all[i] != r && all[i]->ended_us < r->began_us)
            return false;
    return model_error(r->call, o->states[o->n].at[0], o->states[o->n].at[1]) == 0 &&
           (r->call != CREATE || o->states[o->n].at[0] == 0);
}

static bool find_order(struct order *o, const struct result *const *all, unsigned n, bool *used)
{
    if (o->n == n)
        return explains(o);
    for (unsigned i = 0; i < n; i++) {
        bool found;

        if (used[i] || !may_follow(o, all[i], all, n, used))
            continue;
        used[i] = true;
        o->changes[o->n] = all[i];
        o->states[o->n + 1] = o->states[o->n];
        model_change(&o->states[++o->n], all[i]);
        found = find_order(o, all, n, used);
        o->n--;
        used[i] = false;
        if (found)
            return true;
    }
    return false;
}

static bool is_right(void)
{
    const struct result *all[CHANGES];
    struct order o = {.states = {start}};
    bool used[CHANGES] = {false};
    unsigned n = 0;

    for (unsigned i = 0; i < options.n_hosts; i++)
        for (unsigned k = 0; k < hosts[i].n; k++)
            if (is_change(&hosts[i].results[k]))
                all[n++] = &hosts[i].results[k];
    return find_order(&o, all, n, used);
}

/* ---- Rounds ---------------------------------------------------------------------------------- */

static void show(void)
{
    uint64_t first = UINT64_MAX;

    if (shown++ >= SHOWN_MAX)
        return;
    for (unsigned i = 0; i < options.n_hosts; i++)
        first = min_u64(first, hosts[i].results[0].began_us);
    printf("wrong: n %o, m %o:", start.at[0], start.at[1]);
    for (unsigned i = 0; i < options.n_hosts; i++) {
        printf(" | host %u:", i + 1);
        for (unsigned k = 0; k < hosts[i].n; k++) {
            const struct result *r = &hosts[i].results[k];

            printf(" %s [%llu-%llu us]", call_names[r->call],
                   (unsigned long long)(r->began_us - first),
                   (unsigned long long)(r->ended_us - first));
            if (r->err != 0)
                printf(" %s", strerror(r->err));
            else if (r->call == LIST)
                printf(" %s%s", r->listed[0] ? "n" : "", r->listed[1] ? "m" : "");
            else if (r->object != 0)
                printf(" %o%s", r->object, r->object == r->made ? " (new)" : "");
            printf(";");
        }
    }
    printf("\n");
    fflush(stdout);
}

/* Waits until all hosts have every change so far: a new name appears on them. */
static void remove_all(void)
{
    const struct host *h = &hosts[0];

    for (unsigned i = 0; i < NAMES; i++)
        if (unlink(h->paths[i]) != 0 && errno == EISDIR && rmdir(h->paths[i]) != 0)
            give_up("rmdir", h->paths[i]);
    if (rmdir(h->dir) != 0)
        give_up("rmdir", h->dir);
}

static void make(const char *path, unsigned object)
{
    int rv = object == 0      ? 0
             : is_dir(object) ? mkdir(path, object & 07777)
                              : mknod(path, object, 0);

    if (rv != 0)
        give_up("making", path);
}

/* The filesystem's barrier: fsync of a file. */
static void sync_host(const struct host *h)
{
    int fd = open(h->mount, O_RDONLY | O_CLOEXEC), file;
    char path[PATH_MAX];

    if (fd < 0)
        give_up("open", h->mount);
    snprintf(path, sizeof(path), "told.%u", h->number);
    file = openat(fd, path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0 || fsync(file) != 0)
        give_up("fsync", path);
    close(file);
    close(fd);
}

static bool believes(const char *path, unsigned object)
{
    struct stat st;

    return lstat(path, &st) == 0 ? st.st_mode == object : object == 0 && errno == ENOENT;
}

/* Each host reads everything, so its kernel caches it. */
static void let_believe(const struct host *h)
{
    struct result list;

    sync_host(h);
    for (unsigned tries = 0; tries < WAIT_TRIES; tries++) {
        if (listed(&list, h->dir) == 0 && believes(h->paths[0], start.at[0]) &&
            believes(h->paths[1], start.at[1]))
            return;
        usleep(100);
    }
    give_up("never there", h->dir);
}

static void set_up(unsigned long round)
{
    unsigned chance = (unsigned)rand_r(&options.seed);

    start.at[0] = chance % 4 == 0   ? 0
                  : chance % 4 == 1 ? S_IFDIR | (TAG_FIRST | 1)
                                    : S_IFREG | (TAG_FIRST | 1);
    start.at[1] = chance / 4 % 2 == 0   ? 0
                  : chance / 8 % 4 == 0 ? S_IFDIR | (TAG_FIRST | 2)
                                        : S_IFREG | (TAG_FIRST | 2);
    for (unsigned i = 0; i < options.n_hosts; i++) {
        struct host *h = &hosts[i];

        snprintf(h->dir, sizeof(h->dir), "%.4000s/told-%lu", h->mount, round);
        snprintf(h->paths[0], sizeof(h->paths[0]), "%.4000s/told-%lu/n", h->mount, round);
        snprintf(h->paths[1], sizeof(h->paths[1]), "%.4000s/told-%lu/m", h->mount, round);
        h->opens = chance / 32 % 2 == 0;
        h->n = 0;
    }
    if (mkdir(hosts[0].dir, 0755) != 0)
        give_up("mkdir", hosts[0].dir);
    make(hosts[0].paths[0], start.at[0]);
    make(hosts[0].paths[1], start.at[1]);
    for (unsigned i = 0; i < options.n_hosts; i++)
        let_believe(&hosts[i]);
}

static void run_round(unsigned long round, enum call a, enum call b)
{
    unsigned first = round % options.n_hosts;

    set_up(round);
    for (unsigned i = 0; i < options.n_hosts; i++)
        hosts[i].call = (enum call)((unsigned)rand_r(&options.seed) % CALLS);
    hosts[first].call = a;
    hosts[(first + 1) % options.n_hosts].call = b;
    pthread_barrier_wait(&begin);
    pthread_barrier_wait(&end);
    done++;
    if (!is_right()) {
        wrong++;
        show();
    }
    for (unsigned i = 0; i < options.n_hosts; i++)
        sync_host(&hosts[i]);
    remove_all();
}

static void run_pairs(void)
{
    unsigned long round = 0;

    for (enum call a = 0; a < CALLS; a++)
        for (enum call b = a; b < CALLS; b++)
            for (unsigned i = 0; i < options.rounds; i++)
                if (!options.any_only || options.only[a] || options.only[b])
                    run_round(round++, a, b);
}

static void start_hosts(char **mounts)
{
    check(pthread_barrier_init(&begin, NULL, options.n_hosts + 1) == 0);
    check(pthread_barrier_init(&end, NULL, options.n_hosts + 1) == 0);
    for (unsigned i = 0; i < options.n_hosts; i++) {
        hosts[i].mount = mounts[i];
        hosts[i].number = i;
        hosts[i].seed = options.seed + i;
        check(pthread_create(&hosts[i].thread, NULL, host_run, &hosts[i]) == 0);
    }
}

static void select_call(const char *name)
{
    for (unsigned i = 0; i < CALLS; i++)
        if (strcmp(name, call_names[i]) == 0)
            options.only[i] = options.any_only = true;
}

int main(int argc, char **argv)
{
    int c;

    while ((c = getopt(argc, argv, "sr:o:")) != -1) {
        if (c == 's')
            options.strong = true;
        else if (c == 'r')
            options.seed = (unsigned)atoi(optarg);
        else if (c == 'o')
            select_call(optarg);
        else
            return 2;
    }
    options.n_hosts = (unsigned)max_u64((uint64_t)(argc - optind), 1) - 1;
    if (options.n_hosts < 2 || options.n_hosts > HOSTS_MAX ||
        (options.rounds = (unsigned)atoi(argv[optind])) == 0) {
        fprintf(stderr, "usage: told [-s] [-r SEED] [-o CALL]... ROUNDS MOUNT MOUNT [MOUNT]\n");
        return 2;
    }
    umask(0);
    printf("seed %u\n", options.seed);
    start_hosts(argv + optind + 1);
    run_pairs();
    atomic_store(&over, true);
    pthread_barrier_wait(&begin);
    for (unsigned i = 0; i < options.n_hosts; i++)
        pthread_join(hosts[i].thread, NULL);
    printf("%u rounds, %u wrong\n", done, wrong);
    return wrong > 0;
}
