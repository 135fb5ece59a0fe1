/* Preloaded by write_log.py: sees every call that changes what lies below one folder.
 *
 * faults_begin(root, log, deadline) starts: each call is appended to the file descriptor `log` (if it is not -1), and the
 * process kills itself just before the `deadline`-th one (if that is not 0). Files are told apart by their inode.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

static char root[PATH_MAX];
static int log_fd = -1;
static long deadline, calls;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

#define REAL(type, name, ...) static type (*real)(__VA_ARGS__); if (!real) *(void **)&real = dlsym(RTLD_NEXT, name)

void faults_begin(const char *folder, int log, long at) {
    snprintf(root, sizeof root, "%s/", folder);
    log_fd = log; deadline = at; calls = 0;
}
long faults_end(void) { root[0] = 0; log_fd = -1; return calls; }

static int below(const char *path) { return root[0] && !strncmp(path, root, strlen(root)); }

static int absolute(int folder, const char *path, char *out) {
    char link[64], base[PATH_MAX];
    ssize_t length;
    if (path[0] == '/') { snprintf(out, PATH_MAX, "%s", path); return below(out); }
    if (folder == AT_FDCWD) { if (!getcwd(base, sizeof base)) return 0; }
    else {
        snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        if ((length = readlink(link, base, sizeof base - 1)) < 0) return 0;
        base[length] = 0;
    }
    if (snprintf(out, PATH_MAX, "%s/%s", base, path) >= PATH_MAX) return 0;
    return below(out);
}

static int of_descriptor(int descriptor, char *out) {
    char link[64];
    ssize_t length;
    if (!root[0]) return 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", descriptor);
    if ((length = readlink(link, out, PATH_MAX - 2)) < 0) return 0;
    out[length] = 0;
    return below(out) || (out[length] = '/', out[length + 1] = 0, below(out) ? (out[length] = 0, 1) : 0);
}

static uint64_t inode(const char *path) { struct stat s; return lstat(path, &s) ? 0 : (uint64_t)s.st_ino; }
static uint64_t inode_of(int descriptor) { struct stat s; return fstat(descriptor, &s) ? 0 : (uint64_t)s.st_ino; }

static void put(const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    while (size) { ssize_t done = real(log_fd, data, size); if (done <= 0) abort(); data = (const char *)data + done; size -= done; }
}

/* One record: kind, inode, number, length of the two paths and of the data, then these. */
static void note(char kind, uint64_t node, int64_t number, const char *a, const char *b, const void *data, uint64_t size) {
    pthread_mutex_lock(&mutex);
    if (log_fd >= 0) {
        uint64_t head[5] = {node, (uint64_t)number, strlen(a), strlen(b), size};
        put(&kind, 1); put(head, sizeof head); put(a, head[2]); put(b, head[3]); put(data, size);
    }
    pthread_mutex_unlock(&mutex);
}

void faults_mark(long number) { note('x', 0, number, "", "", "", 0); }

static void due(void) { if (++calls == deadline) kill(getpid(), SIGKILL); }

static int opened(int folder, const char *path, int flags, int (*open_it)(int, const char *, int, mode_t), mode_t mode) {
    char full[PATH_MAX];
    int ours = (flags & (O_CREAT | O_TRUNC)) && absolute(folder, path, full);
    uint64_t before = ours ? inode(full) : 0;
    int changes = ours && ((flags & O_TRUNC) || !before);
    if (changes) due();
    int descriptor = open_it(folder, path, flags, mode);
    if (descriptor < 0 || !changes) return descriptor;
    int kept = errno;
    if (!before) note('c', inode_of(descriptor), 0, full, "", "", 0);
    else if (flags & O_TRUNC) note('t', before, 0, "", "", "", 0);
    errno = kept;
    return descriptor;
}
static int really_open(int folder, const char *path, int flags, mode_t mode) {
    REAL(int, "openat", int, const char *, int, ...);
    return real(folder, path, flags, mode);
}
#define MODE mode_t mode = 0; if (flags & (O_CREAT | O_TMPFILE)) { va_list list; va_start(list, flags); mode = va_arg(list, mode_t); va_end(list); }
int open(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, really_open, mode); }
int open64(const char *path, int flags, ...) { MODE return opened(AT_FDCWD, path, flags, really_open, mode); }
int openat(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, really_open, mode); }
int openat64(int folder, const char *path, int flags, ...) { MODE return opened(folder, path, flags, really_open, mode); }

ssize_t write(int descriptor, const void *data, size_t size) {
    REAL(ssize_t, "write", int, const void *, size_t);
    char path[PATH_MAX];
    if (!of_descriptor(descriptor, path)) return real(descriptor, data, size);
    due();
    off_t place = (fcntl(descriptor, F_GETFL) & O_APPEND) ? lseek(descriptor, 0, SEEK_END) : lseek(descriptor, 0, SEEK_CUR);
    ssize_t done = real(descriptor, data, size);
    int kept = errno;
    if (done > 0) note('w', inode_of(descriptor), place, "", "", data, done);
    errno = kept;
    return done;
}
static ssize_t at(const char *name, int descriptor, const void *data, size_t size, off_t place) {
    REAL(ssize_t, name, int, const void *, size_t, off_t);
    char path[PATH_MAX];
    int ours = of_descriptor(descriptor, path);
    if (ours) due();
    ssize_t done = real(descriptor, data, size, place);
    int kept = errno;
    if (ours && done > 0) note('w', inode_of(descriptor), place, "", "", data, done);
    errno = kept;
    return done;
}
ssize_t pwrite(int d, const void *data, size_t size, off_t place) { return at("pwrite64", d, data, size, place); }
ssize_t pwrite64(int d, const void *data, size_t size, off_t place) { return at("pwrite64", d, data, size, place); }
ssize_t writev(int descriptor, const struct iovec *parts, int count) {
    REAL(ssize_t, "writev", int, const struct iovec *, int);
    char path[PATH_MAX];
    if (!of_descriptor(descriptor, path)) return real(descriptor, parts, count);
    ssize_t all = 0;
    for (int n = 0; n < count; n++) {
        ssize_t done = parts[n].iov_len ? write(descriptor, parts[n].iov_base, parts[n].iov_len) : 0;
        if (done < 0) return all ? all : done;
        all += done;
        if ((size_t)done < parts[n].iov_len) break;
    }
    return all;
}
static int truncated(int descriptor, off_t size) {
    REAL(int, "ftruncate64", int, off_t);
    char path[PATH_MAX];
    int ours = of_descriptor(descriptor, path);
    if (ours) due();
    int done = real(descriptor, size);
    if (ours && !done) note('t', inode_of(descriptor), size, "", "", "", 0);
    return done;
}
int ftruncate(int descriptor, off_t size) { return truncated(descriptor, size); }
int ftruncate64(int descriptor, off_t size) { return truncated(descriptor, size); }
static int synced(const char *name, int descriptor) {
    REAL(int, name, int);
    char path[PATH_MAX];
    if (!of_descriptor(descriptor, path)) return real(descriptor);
    due();
    struct stat found;
    int folder = !fstat(descriptor, &found) && S_ISDIR(found.st_mode);
    note(folder ? 'd' : 's', inode_of(descriptor), 0, path, "", "", 0);
    return 0; /* the disk itself is not waited for: what it would have is computed from the log */
}
int fsync(int descriptor) { return synced("fsync", descriptor); }
int fdatasync(int descriptor) { return synced("fdatasync", descriptor); }
static int moved(int from, const char *old, int to, const char *new) {
    REAL(int, "renameat", int, const char *, int, const char *);
    char a[PATH_MAX], b[PATH_MAX];
    int ours = absolute(from, old, a) & absolute(to, new, b);
    uint64_t node = ours ? inode(a) : 0;
    if (ours) due();
    int done = real(from, old, to, new);
    if (ours && !done) note('r', node, 0, a, b, "", 0);
    return done;
}
int rename(const char *old, const char *new) { return moved(AT_FDCWD, old, AT_FDCWD, new); }
int renameat2(int from, const char *old, int to, const char *new, unsigned flags) {
    (void)flags;
    return moved(from, old, to, new);
}
int renameat(int from, const char *old, int to, const char *new) { return moved(from, old, to, new); }
static int removed(int folder, const char *path, int flags) {
    REAL(int, "unlinkat", int, const char *, int);
    char full[PATH_MAX];
    int ours = absolute(folder, path, full);
    uint64_t node = ours ? inode(full) : 0;
    if (ours && node) due();
    int done = real(folder, path, flags);
    if (ours && !done) note('u', node, 0, full, "", "", 0);
    return done;
}
int unlink(const char *path) { return removed(AT_FDCWD, path, 0); }
int rmdir(const char *path) { return removed(AT_FDCWD, path, AT_REMOVEDIR); }
int unlinkat(int folder, const char *path, int flags) { return removed(folder, path, flags); }
static int made(int folder, const char *path, mode_t mode) {
    REAL(int, "mkdirat", int, const char *, mode_t);
    char full[PATH_MAX];
    int ours = absolute(folder, path, full);
    if (ours) due();
    int done = real(folder, path, mode);
    if (ours && !done) note('m', inode(full), 0, full, "", "", 0);
    return done;
}
int mkdir(const char *path, mode_t mode) { return made(AT_FDCWD, path, mode); }
int mkdirat(int folder, const char *path, mode_t mode) { return made(folder, path, mode); }
