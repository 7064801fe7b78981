/* SPDX-License-Identifier: Apache-2.0 */
/* Writers that check the promises made to them.
 *
 *   writers run JOURNAL SECONDS WRITERS DIR...   WRITERS threads on each mount write until SECONDS
 *                                                are over or SIGTERM arrives
 *   writers verify JOURNAL DIR                   compares the journal with the content of DIR
 *
 * Theory of operation. Each writer has its own directory and changes it with predictable results:
 * it creates, overwrites, renames and removes files whose name and content follow from (writer,
 * number, version), and appends lines to its own log and to a log that all writers of all mounts
 * share. If a call returns, its change holds (acknowledged). If it fails because the mount or the
 * quorum is gone, the change may have happened (in doubt). A file in doubt is not used again. The
 * journal contains both.
 *
 * verify then demands: everything acknowledged exists, exactly, once; everything in doubt exists in
 * one of its possible forms; nothing else exists. An error that no loss of a member explains
 * (EEXIST for a name that was never used, ENOENT for an acknowledged file …) is a violation already
 * during the run, and so is a file that its writer cannot read back.
 *
 * During the run, JOURNAL.count has the number of acknowledged changes. The writers wait for a
 * mount that is gone. All paths are relative to a descriptor of the mount's root, so nothing is
 * written into the directory below a missing mount. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "base/base.h"
#include "base/clock.h"

#define MAX_WRITERS 1024
#define MAX_CONTENT (160u << 10)
#define KEEP_FILES  300 /* number of files that a writer keeps, about */
#define PAUSE_US    1000
#define LINE_ROOM   40
#define SHOWN       20 /* violations printed */

enum doubt { SURE, MAYBE_CREATED, MAYBE_WRITTEN, MAYBE_RENAMED, MAYBE_REMOVED };

struct file {
    unsigned number;
    unsigned version; /* of the acknowledged content */
    char kind;        /* its name is KIND NUMBER; a rename changes the kind */
    bool there;
    enum doubt doubt; /* about the last change: to version + 1, to the other kind … */
};

struct lines {
    unsigned used;        /* numbers 0 .. used - 1 were used */
    bool *acked;          /* by number */
    unsigned acked_count; /* number of these */
};

struct writer {
    unsigned id;
    const char *mount;
    int root; /* descriptor of the mount's root; -1: open it */
    uint64_t chance;
    struct file *files;
    unsigned n_files;
    struct lines own;
    struct lines shared;
    pthread_t thread;
};

static struct writer writers[MAX_WRITERS];
static unsigned n_writers;
static atomic_bool stopping;
static atomic_uint acknowledged;
static atomic_uint doubtful;
static atomic_uint violations;

BASE_PRINTF(1, 2) static void violation(const char *fmt, ...)
{
    va_list args;

    if (atomic_fetch_add(&violations, 1) >= SHOWN)
        return;
    va_start(args, fmt);
    flockfile(stdout);
    printf("violation: ");
    vprintf(fmt, args);
    printf("\n");
    funlockfile(stdout);
    va_end(args);
}

/* ---- Names and content ----------------------------------------------------------------------- */

static uint64_t mix(uint64_t a, uint64_t b, uint64_t c)
{
    uint64_t words[3] = {a, b, c};

    return XXH3_64bits(words, sizeof words);
}

/* The content of a version of a file; its length also follows from the numbers. Most are small. */
static size_t content(unsigned writer, unsigned number, unsigned version, char *out)
{
    uint64_t h = mix(writer, number, version);
    size_t len = h % 100 < 3 ? (h >> 8) % MAX_CONTENT : (h >> 8) % 3000;
    size_t i = (size_t)sprintf(out, "writer %u file %u version %u\n", writer, number, version);

    len = max_u64(len, i);
    for (; i + 8 <= len; i += 8) {
        h = h * 6364136223846793005u + 1442695040888963407u;
        memcpy(out + i, &h, 8);
    }
    memset(out + i, 'x', len - i);
    return len;
}

static void file_path(char *out, size_t size, unsigned writer, char kind, unsigned number)
{
    snprintf(out, size, "w%u/%c%u", writer, kind, number);
}

static char other_kind(char kind)
{
    return kind == 'f' ? 'g' : 'f';
}

/* One line of a log. It has a fixed length and a checksum, so torn or mixed lines are noticed. */
static void make_line(unsigned writer, unsigned number, char out[LINE_ROOM])
{
    snprintf(out, LINE_ROOM, "w%05u %010u %08" PRIx32 "\n", writer, number,
             (uint32_t)mix(writer, number, 7));
}

/* ---- Doing ----------------------------------------------------------------------------------- */

static uint64_t chance(struct writer *w)
{
    w->chance += 0x9e3779b97f4a7c15u;
    return mix(w->chance, w->id, 1);
}

/* True if the loss of a member, of its mount or of the quorum explains the error. */
static bool excusable(int err)
{
    static const int list[] = {ENOTCONN, ECONNABORTED, ETIMEDOUT, ESTALE, ESHUTDOWN,
                               EINTR,    EIO,          EBADF,     ENODEV, ECONNREFUSED};

    for (size_t i = 0; i < ARRAY_LEN(list); i++)
        if (list[i] == err)
            return true;
    return false;
}

/* Notes the outcome of a change. True if it is acknowledged. */
static bool noted(struct writer *w, int err, const char *what)
{
    if (err == 0) {
        atomic_fetch_add(&acknowledged, 1);
        return true;
    }
    if (!excusable(err))
        violation("writer %u on %s: %s: %s", w->id, w->mount, what, strerror(err));
    atomic_fetch_add(&doubtful, 1);
    if (w->root >= 0 && err != EINTR && err != ETIMEDOUT) {
        close(w->root);
        w->root = -1;
    }
    return false;
}

/* Opens path, writes all of data, closes. Returns 0 or an errno. */
static int put(struct writer *w, const char *path, int flags, const void *data, size_t len)
{
    int fd = openat(w->root, path, flags | O_WRONLY | O_CLOEXEC, 0644);
    const char *at = data;
    int err = 0;

    if (fd < 0)
        return errno;
    while (len > 0 && err == 0) {
        ssize_t n = write(fd, at, len);

        if (n < 0) {
            err = errno;
        } else {
            at += n;
            len -= (size_t)n;
        }
    }
    if (close(fd) < 0 && err == 0)
        err = errno;
    return err;
}

/* Reads the whole file into out (of MAX_CONTENT + 1 bytes). Returns its length or -errno. */
static ssize_t get(int root, const char *path, char *out)
{
    int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
    size_t have = 0;
    ssize_t n;

    if (fd < 0)
        return -errno;
    while ((n = read(fd, out + have, MAX_CONTENT + 1 - have)) > 0)
        have += (size_t)n;
    if (n < 0)
        n = -errno;
    close(fd);
    return n < 0 ? n : (ssize_t)have;
}

/* P3: an acknowledged change is immediately visible on the same mount. */
static void read_back(struct writer *w, const struct file *f)
{
    char *want = xmalloc(MAX_CONTENT + 1);
    char *got = xmalloc(MAX_CONTENT + 1);
    size_t len = content(w->id, f->number, f->version, want);
    char path[64];
    ssize_t n;

    file_path(path, sizeof path, w->id, f->kind, f->number);
    n = get(w->root, path, got);
    if (n < 0 && !excusable((int)-n))
        violation("%s on %s cannot be read back: %s", path, w->mount, strerror((int)-n));
    else if (n >= 0 && ((size_t)n != len || memcmp(got, want, len) != 0))
        violation("%s on %s reads back wrong (%zd bytes, want %zu)", path, w->mount, n, len);
    free(want);
    free(got);
}

static void do_write(struct writer *w, struct file *f, bool create)
{
    char *data = xmalloc(MAX_CONTENT + 1);
    size_t len = content(w->id, f->number, f->version + 1, data);
    char path[64];
    int err;

    file_path(path, sizeof path, w->id, f->kind, f->number);
    err = put(w, path, create ? O_CREAT | O_EXCL : O_TRUNC, data, len);
    free(data);
    if (!noted(w, err, path)) {
        f->doubt = create ? MAYBE_CREATED : MAYBE_WRITTEN;
        return;
    }
    f->version++;
    f->there = true;
    if (chance(w) % 8 == 0)
        read_back(w, f);
}

static void do_create(struct writer *w)
{
    struct file *f;

    if (w->n_files % 1024 == 0)
        w->files = xrealloc(w->files, (w->n_files + 1024) * sizeof *w->files);
    f = &w->files[w->n_files];
    *f = (struct file){.number = w->n_files, .kind = 'f'};
    w->n_files++;
    do_write(w, f, true);
}

static void do_rename(struct writer *w, struct file *f)
{
    char from[64];
    char to[64];
    int rv;

    file_path(from, sizeof from, w->id, f->kind, f->number);
    file_path(to, sizeof to, w->id, other_kind(f->kind), f->number);
    rv = renameat2(w->root, from, w->root, to, chance(w) % 2 ? RENAME_NOREPLACE : 0);
    if (noted(w, rv < 0 ? errno : 0, from))
        f->kind = other_kind(f->kind);
    else
        f->doubt = MAYBE_RENAMED;
}

static void do_remove(struct writer *w, struct file *f)
{
    char path[64];

    file_path(path, sizeof path, w->id, f->kind, f->number);
    if (noted(w, unlinkat(w->root, path, 0) < 0 ? errno : 0, path))
        f->there = false;
    else
        f->doubt = MAYBE_REMOVED;
}

static void do_append(struct writer *w, struct lines *lines, const char *path)
{
    char line[LINE_ROOM];
    unsigned number = lines->used;

    if (number % 1024 == 0)
        lines->acked = xrealloc(lines->acked, (number + 1024) * sizeof *lines->acked);
    lines->used++;
    make_line(w->id, number, line);
    lines->acked[number] = noted(w, put(w, path, O_APPEND | O_CREAT, line, strlen(line)), path);
    lines->acked_count += lines->acked[number];
}

/* Finds a file that may be changed: it exists and is not in doubt. NULL: none found. */
static struct file *any_file(struct writer *w)
{
    for (int tries = 0; tries < 20 && w->n_files > 0; tries++) {
        unsigned back = (unsigned)(chance(w) % min_u64(w->n_files, 2 * KEEP_FILES));
        struct file *f = &w->files[w->n_files - 1 - back];

        if (f->there && f->doubt == SURE)
            return f;
    }
    return NULL;
}

static void one_change(struct writer *w)
{
    unsigned what = (unsigned)(chance(w) % 100);
    struct file *f = any_file(w);
    char own[64];

    snprintf(own, sizeof own, "w%u/log", w->id);
    if (what < 10)
        do_append(w, &w->shared, "shared.log");
    else if (what < 25)
        do_append(w, &w->own, own);
    else if (what < 60 || f == NULL)
        do_create(w);
    else if (what < 75)
        do_write(w, f, false);
    else if (what < 85)
        do_rename(w, f);
    else
        do_remove(w, f);
}

/* ---- Mounts that disappear and return -------------------------------------------------------- */

/* True if fd is the root of a mount (its parent is on another device). */
static bool is_mounted(int fd)
{
    struct stat root;
    struct stat parent;

    return fstat(fd, &root) == 0 && fstatat(fd, "..", &parent, 0) == 0 &&
           root.st_dev != parent.st_dev;
}

/* The kernel looks up ".." of a mount's root above the mount. */
static void open_root(struct writer *w)
{
    char name[32];

    w->root = open(w->mount, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (w->root >= 0 && is_mounted(w->root)) {
        snprintf(name, sizeof name, "w%u", w->id);
        if (mkdirat(w->root, name, 0755) == 0 || errno == EEXIST)
            return;
        if (!excusable(errno))
            violation("mkdir %s/%s: %s", w->mount, name, strerror(errno));
    }
    if (w->root >= 0)
        close(w->root);
    w->root = -1;
    usleep(10000);
}

static void *write_on(void *arg)
{
    struct writer *w = arg;

    while (!atomic_load(&stopping)) {
        if (w->root < 0)
            open_root(w);
        else
            one_change(w);
        usleep(PAUSE_US);
    }
    if (w->root >= 0)
        close(w->root);
    return NULL;
}

/* ---- The journal ----------------------------------------------------------------------------- */

static FILE *must_open(const char *path, const char *mode)
{
    FILE *f = fopen(path, mode);

    if (f == NULL)
        die("%s: %s", path, strerror(errno));
    return f;
}

static void save_lines(FILE *out, const char *what, const struct writer *w,
                       const struct lines *lines)
{
    fprintf(out, "%s %u %u ", what, w->id, lines->used);
    for (unsigned i = 0; i < lines->used; i++)
        fputc(lines->acked[i] ? '1' : '0', out);
    fputc('\n', out);
}

static void save_journal(const char *path)
{
    FILE *out = must_open(path, "w");

    for (unsigned i = 0; i < n_writers; i++) {
        const struct writer *w = &writers[i];

        save_lines(out, "own", w, &w->own);
        save_lines(out, "shared", w, &w->shared);
        for (unsigned k = 0; k < w->n_files; k++) {
            const struct file *f = &w->files[k];

            fprintf(out, "file %u %u %u %c %d %d\n", w->id, f->number, f->version, f->kind,
                    f->there, (int)f->doubt);
        }
    }
    if (fclose(out) != 0)
        die("%s: %s", path, strerror(errno));
}

static void save_count(const char *journal)
{
    char *path = xasprintf("%s.count", journal);
    char *temp = xasprintf("%s.new", path);
    FILE *out = must_open(temp, "w");

    fprintf(out, "%u\n", atomic_load(&acknowledged));
    fclose(out);
    if (rename(temp, path) < 0)
        die("%s: %s", path, strerror(errno));
    free(temp);
    free(path);
}

static void load_lines(FILE *in, struct lines *lines)
{
    if (fscanf(in, "%u ", &lines->used) != 1)
        die("bad journal");
    lines->acked = xcalloc(lines->used, sizeof *lines->acked);
    for (unsigned i = 0; i < lines->used; i++) {
        lines->acked[i] = fgetc(in) == '1';
        lines->acked_count += lines->acked[i];
    }
}

static void load_file(FILE *in, struct writer *w)
{
    struct file f;
    int there;
    int doubt;

    if (fscanf(in, "%u %u %c %d %d", &f.number, &f.version, &f.kind, &there, &doubt) != 5)
        die("bad journal");
    if (f.number != w->n_files)
        die("bad journal: file %u of writer %u", f.number, w->id);
    f.there = there != 0;
    f.doubt = (enum doubt)doubt;
    if (w->n_files % 1024 == 0)
        w->files = xrealloc(w->files, (w->n_files + 1024) * sizeof *w->files);
    w->files[w->n_files++] = f;
}

static void load_journal(const char *path)
{
    FILE *in = must_open(path, "r");
    char what[16];
    unsigned id;

    while (fscanf(in, "%15s %u ", what, &id) == 2) {
        if (id >= MAX_WRITERS)
            die("bad journal");
        writers[id].id = id;
        n_writers = (unsigned)max_u64(n_writers, id + 1);
        if (strcmp(what, "own") == 0)
            load_lines(in, &writers[id].own);
        else if (strcmp(what, "shared") == 0)
            load_lines(in, &writers[id].shared);
        else
            load_file(in, &writers[id]);
    }
    fclose(in);
    if (n_writers == 0)
        die("%s is empty", path);
}

/* ---- Verifying ------------------------------------------------------------------------------- */

/* True if the bytes are a version of the file (for partial: the beginning of one). */
static bool is_version(const struct writer *w, const struct file *f, unsigned version, bool partial,
                       const char *got, size_t got_len)
{
    char *want = xmalloc(MAX_CONTENT + 1);
    size_t len = content(w->id, f->number, version, want);
    bool same = (partial ? got_len <= len : got_len == len) && memcmp(got, want, got_len) == 0;

    free(want);
    return same;
}

/* True if the file may have this content. got_len < 0: it does not exist. */
static bool possible(const struct writer *w, const struct file *f, const char *got, ssize_t got_len)
{
    if (got_len < 0)
        return !f->there || f->doubt == MAYBE_REMOVED;
    if (f->there && is_version(w, f, f->version, false, got, (size_t)got_len))
        return true;
    if (f->doubt == MAYBE_CREATED || f->doubt == MAYBE_WRITTEN)
        return is_version(w, f, f->version + 1, true, got, (size_t)got_len);
    return false;
}

static void verify_file(int root, const struct writer *w, const struct file *f)
{
    static char got[MAX_CONTENT + 1];
    char here[64];
    char there[64];
    ssize_t n;
    ssize_t other;

    file_path(here, sizeof here, w->id, f->kind, f->number);
    file_path(there, sizeof there, w->id, other_kind(f->kind), f->number);
    other = get(root, there, got);
    n = get(root, here, got);
    if (f->doubt == MAYBE_RENAMED && n == -ENOENT)
        n = get(root, there, got), other = -ENOENT;
    if (other != -ENOENT)
        violation("%s exists, but should not", there);
    if (n < 0 && n != -ENOENT)
        violation("%s: %s", here, strerror((int)-n));
    else if (!possible(w, f, got, n))
        violation("%s: %s (acknowledged: %s version %u, doubt %d)", here,
                  n < 0 ? "is not there" : "has a wrong content",
                  f->there ? "there," : "not there,", f->version, (int)f->doubt);
}

/* Reads a log and counts for each writer and number how often the line occurs. */
struct log_file {
    unsigned *seen[MAX_WRITERS];
    long last[MAX_WRITERS];
};

static const struct lines *lines_of(unsigned writer, bool shared)
{
    return shared ? &writers[writer].shared : &writers[writer].own;
}

static void read_line(struct log_file *log, const char *path, const char *text, bool shared,
                      unsigned only)
{
    char want[LINE_ROOM];
    unsigned writer;
    unsigned number;

    if (sscanf(text, "w%u %u", &writer, &number) != 2 || writer >= n_writers) {
        violation("%s has a damaged line: %.40s", path, text);
        return;
    }
    make_line(writer, number, want);
    if (strcmp(text, want) != 0 || (!shared && writer != only) ||
        number >= lines_of(writer, shared)->used) {
        violation("%s has a line that no writer wrote: %.40s", path, text);
        return;
    }
    /* FIFO client order: one writer's appends stay in order, except for those that it gave up (in
     * doubt) and that were applied later. */
    if (lines_of(writer, shared)->acked[number]) {
        if ((long)number <= log->last[writer])
            violation("%s: line %u of writer %u comes after line %ld", path, number, writer,
                      log->last[writer]);
        log->last[writer] = (long)number;
    }
    log->seen[writer][number]++;
}

static void verify_log(int root, const char *path, bool shared, unsigned only)
{
    struct log_file log = {0};
    char line[256];
    int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
    FILE *in = fd >= 0 ? fdopen(fd, "r") : NULL;

    if (in == NULL && errno != ENOENT)
        violation("%s: %s", path, strerror(errno));
    for (unsigned w = 0; w < n_writers; w++) {
        log.seen[w] = xcalloc(lines_of(w, shared)->used, sizeof *log.seen[w]);
        log.last[w] = -1;
    }
    while (in != NULL && fgets(line, sizeof line, in) != NULL)
        read_line(&log, path, line, shared, only);
    for (unsigned w = 0; w < n_writers; w++) {
        for (unsigned i = 0; (shared || w == only) && i < lines_of(w, shared)->used; i++) {
            if (log.seen[w][i] > 1 || (log.seen[w][i] == 0 && lines_of(w, shared)->acked[i]))
                violation("%s: line %u of writer %u occurs %u times (%s)", path, i, w,
                          log.seen[w][i], lines_of(w, shared)->acked[i] ? "acknowledged" : "doubt");
        }
        free(log.seen[w]);
    }
    if (in != NULL)
        fclose(in);
}

static int verify(const char *journal, const char *dir)
{
    uint64_t files = 0;
    uint64_t lines = 0;
    int root = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    char own[64];

    load_journal(journal);
    if (root < 0)
        die("%s: %s", dir, strerror(errno));
    verify_log(root, "shared.log", true, 0);
    for (unsigned i = 0; i < n_writers; i++) {
        const struct writer *w = &writers[i];

        snprintf(own, sizeof own, "w%u/log", i);
        verify_log(root, own, false, i);
        for (unsigned k = 0; k < w->n_files; k++)
            verify_file(root, w, &w->files[k]);
        files += w->n_files;
        lines += w->own.acked_count + w->shared.acked_count;
    }
    close(root);
    printf("%s: %" PRIu64 " files and %" PRIu64 " acknowledged lines checked, %u violations\n", dir,
           files, lines, atomic_load(&violations));
    return atomic_load(&violations) == 0 && files > 0 ? 0 : 1;
}

/* ---- Running --------------------------------------------------------------------------------- */

static void on_term(int sig BASE_UNUSED)
{
    atomic_store(&stopping, true);
}

static int run(const char *journal, unsigned seconds, unsigned per_mount, char **mounts,
               unsigned n_mounts)
{
    uint64_t end = clock_boot_ms() + seconds * 1000ull;
    uint64_t seed = clock_entropy();

    printf("seed %" PRIu64 "\n", seed);
    signal(SIGTERM, on_term);
    for (n_writers = 0; n_writers < per_mount * n_mounts; n_writers++) {
        struct writer *w = &writers[n_writers];

        w->id = n_writers;
        w->mount = mounts[n_writers % n_mounts];
        w->root = -1;
        w->chance = mix(seed, n_writers, 0);
        if (pthread_create(&w->thread, NULL, write_on, w) != 0)
            die("no thread");
    }
    while (!atomic_load(&stopping) && clock_boot_ms() < end) {
        save_count(journal);
        usleep(50000);
    }
    atomic_store(&stopping, true);
    for (unsigned i = 0; i < n_writers; i++)
        pthread_join(writers[i].thread, NULL);
    save_count(journal);
    save_journal(journal);
    printf("%u changes acknowledged, %u in doubt, %u violations\n", atomic_load(&acknowledged),
           atomic_load(&doubtful), atomic_load(&violations));
    return atomic_load(&violations) == 0 && atomic_load(&acknowledged) > 0 ? 0 : 1;
}

int main(int argc, char **argv)
{
    if (argc >= 6 && strcmp(argv[1], "run") == 0) {
        unsigned per_mount = (unsigned)atoi(argv[4]);
        unsigned n_mounts = (unsigned)argc - 5;

        if (per_mount > 0 && per_mount * n_mounts <= MAX_WRITERS)
            return run(argv[2], (unsigned)atoi(argv[3]), per_mount, argv + 5, n_mounts);
    }
    if (argc == 4 && strcmp(argv[1], "verify") == 0)
        return verify(argv[2], argv[3]);
    fprintf(stderr, "usage: writers run JOURNAL SECONDS WRITERS DIR...\n"
                    "       writers verify JOURNAL DIR\n");
    return 2;
}
