/* Calls of the C library that fail as told: preloaded into a process whose files are to fail.
 *
 * fault_arm() says which; FAULT=CALL:WHERE:ERRNO:SKIP:TIMES in the environment arms it at the start.
 * A call counts if it is about a path that holds WHERE. An errno of 0 makes reads and writes short,
 * a negative one lets the call do its work first. TIMES -1 is always.
 *
 * SLOW=MICROSECONDS makes every look at a file take so long, as on a filesystem far away.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char armed_call[32], armed_where[PATH_MAX];
static int armed_errno, armed_skip, armed_times, hits, slow_us;

void fault_arm(const char *call, const char *where, int number, int skip, int times)
{
    snprintf(armed_call, sizeof armed_call, "%s", call);
    snprintf(armed_where, sizeof armed_where, "%s", where);
    armed_errno = number, armed_skip = skip, armed_times = times, hits = 0;
}

int fault_hits(void) { return hits; }

__attribute__((constructor)) static void arm_from_environment(void)
{
    char call[32], where[PATH_MAX];
    int number, skip, times;
    const char *told = getenv("FAULT");
    if (getenv("SLOW"))
        slow_us = atoi(getenv("SLOW"));
    if (told && sscanf(told, "%31[^:]:%4095[^:]:%d:%d:%d", call, where, &number, &skip, &times) == 5)
        fault_arm(call, where, number, skip, times);
}

static int strikes(const char *call, int folder, const char *name)
{
    char link[64], path[2 * PATH_MAX];
    ssize_t length = 0;
    if (armed_times == 0 || strcmp(call, armed_call) != 0)
        return 0;
    if (name == NULL || name[0] != '/') {
        if (folder == AT_FDCWD)
            snprintf(link, sizeof link, "/proc/self/cwd");
        else
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
        length = readlink(link, path, PATH_MAX);
        if (length < 0)
            return 0;
    }
    snprintf(path + length, PATH_MAX, "/%s", name ? name : "");
    if (strstr(path, armed_where) == NULL)
        return 0;
    if (__atomic_fetch_sub(&armed_skip, 1, __ATOMIC_SEQ_CST) > 0)
        return 0;
    if (armed_times > 0 && __atomic_fetch_sub(&armed_times, 1, __ATOMIC_SEQ_CST) <= 0) {
        armed_times = 0;
        return 0;
    }
    __atomic_fetch_add(&hits, 1, __ATOMIC_SEQ_CST);
    return 1;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))
#define FAIL(failed) do { errno = abs(armed_errno); return failed; } while (0)

/* A call that fails before its work, or after it. */
#define WRAP(type, failed, name, parameters, arguments, folder, path)  \
    type name parameters                                               \
    {                                                                  \
        if (!strikes(#name, folder, path))                             \
            return REAL(name) arguments;                               \
        if (armed_errno < 0)                                           \
            REAL(name) arguments;                                      \
        FAIL(failed);                                                  \
    }

WRAP(int, -1, fsync, (int fd), (fd), fd, NULL)
WRAP(int, -1, fdatasync, (int fd), (fd), fd, NULL)
WRAP(int, -1, syncfs, (int fd), (fd), fd, NULL)
WRAP(int, -1, fchmod, (int fd, mode_t mode), (fd, mode), fd, NULL)
WRAP(int, -1, futimens, (int fd, const struct timespec times[2]), (fd, times), fd, NULL)
WRAP(int, -1, mkdir, (const char *path, mode_t mode), (path, mode), AT_FDCWD, path)
WRAP(int, -1, mkdirat, (int fd, const char *path, mode_t mode), (fd, path, mode), fd, path)
WRAP(int, -1, unlinkat, (int fd, const char *path, int flags), (fd, path, flags), fd, path)
WRAP(int, -1, symlinkat, (const char *target, int fd, const char *path), (target, fd, path), fd,
     path)
WRAP(ssize_t, -1, readlink, (const char *path, char *buffer, size_t size), (path, buffer, size),
     AT_FDCWD, path)
WRAP(int, -1, renameat, (int from, const char *old, int to, const char *new), (from, old, to, new),
     to, new)
WRAP(int, -1, renameat2,
     (int from, const char *old, int to, const char *new, unsigned int flags),
     (from, old, to, new, flags), to, new)
WRAP(int, -1, linkat, (int from, const char *old, int to, const char *new, int flags),
     (from, old, to, new, flags), to, new)

#define WRAP_STAT(key, name, parameters, arguments, folder, path)      \
    int name parameters                                                \
    {                                                                  \
        if (slow_us)                                                   \
            usleep(slow_us);                                           \
        if (strikes(key, folder, path))                                \
            FAIL(-1);                                                  \
        return REAL(name) arguments;                                   \
    }

WRAP_STAT("fstat", fstat, (int fd, struct stat *found), (fd, found), fd, NULL)
WRAP_STAT("fstat", fstat64, (int fd, struct stat64 *found), (fd, found), fd, NULL)
WRAP_STAT("stat", stat, (const char *path, struct stat *found), (path, found), AT_FDCWD, path)
WRAP_STAT("stat", stat64, (const char *path, struct stat64 *found), (path, found), AT_FDCWD, path)
WRAP_STAT("stat", fstatat, (int fd, const char *path, struct stat *found, int flags),
          (fd, path, found, flags), fd, path)
WRAP_STAT("stat", fstatat64, (int fd, const char *path, struct stat64 *found, int flags),
          (fd, path, found, flags), fd, path)

/* The descriptor is closed whatever close() says (close(2)). What was written is lost in part, as
 * where a server has refused it. */
int close(int fd)
{
    int failed = strikes("close", fd, NULL), result;
    struct stat found;
    if (failed && (fcntl(fd, F_GETFL) & O_ACCMODE) != O_RDONLY && REAL(fstat)(fd, &found) == 0
        && S_ISREG(found.st_mode) && ftruncate(fd, found.st_size / 2) != 0)
        abort();
    result = REAL(close)(fd);
    if (failed)
        FAIL(-1);
    return result;
}

#define WRAP_BYTES(key, name, parameters, arguments)                   \
    ssize_t name parameters                                            \
    {                                                                  \
        if (strikes(key, fd, NULL)) {                                  \
            if (armed_errno != 0)                                      \
                FAIL(-1);                                              \
            size = size > 1 ? size / 2 : size;                         \
        }                                                              \
        return REAL(name) arguments;                                   \
    }

WRAP_BYTES("read", read, (int fd, void *data, size_t size), (fd, data, size))
WRAP_BYTES("pread", pread, (int fd, void *data, size_t size, off_t offset),
           (fd, data, size, offset))
WRAP_BYTES("pread", pread64, (int fd, void *data, size_t size, off64_t offset),
           (fd, data, size, offset))
WRAP_BYTES("pwrite", pwrite, (int fd, const void *data, size_t size, off_t offset),
           (fd, data, size, offset))
WRAP_BYTES("pwrite", pwrite64, (int fd, const void *data, size_t size, off64_t offset),
           (fd, data, size, offset))

#define WRAP_OPEN(name, parameters, arguments, folder)                 \
    int name parameters                                                \
    {                                                                  \
        va_list rest;                                                  \
        mode_t mode;                                                   \
        va_start(rest, flags);                                         \
        mode = (flags & (O_CREAT | O_TMPFILE)) ? va_arg(rest, mode_t) : 0; \
        va_end(rest);                                                  \
        if (strikes("open", folder, path))                             \
            FAIL(-1);                                                  \
        return REAL(name) arguments;                                   \
    }

WRAP_OPEN(open, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
WRAP_OPEN(open64, (const char *path, int flags, ...), (path, flags, mode), AT_FDCWD)
WRAP_OPEN(openat, (int fd, const char *path, int flags, ...), (fd, path, flags, mode), fd)
WRAP_OPEN(openat64, (int fd, const char *path, int flags, ...), (fd, path, flags, mode), fd)

static struct dirent *next_entry(DIR *folder, struct dirent *(*real)(DIR *))
{
    if (strikes("readdir", dirfd(folder), NULL))
        FAIL(NULL);
    return real(folder);
}

struct dirent *readdir(DIR *folder) { return next_entry(folder, REAL(readdir)); }
struct dirent64 *readdir64(DIR *folder)
{
    return (struct dirent64 *)next_entry(folder, (struct dirent *(*)(DIR *))REAL(readdir64));
}
