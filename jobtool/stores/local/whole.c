/* A small file read or written by one call each, without the GIL.
 *
 * These functions do what reading.py and writing.py do call by call, if nothing unusual is met. Else
 * they undo what they did and return None or False, and the caller goes the general way, which knows
 * what to say or do about it. So no function here interprets an error.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64
#include <Python.h>

#if !defined(__linux__)
#error "for Linux; elsewhere jobtool calls the system from Python"
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#define BLOCK 4096 /* of a hole, as in sparse.py */
#define SECOND 1000000000LL
#define TIMES_DIFFER (2 * SECOND) /* as in attributes.py */
#define PATH_BYTES 8192

/* Set `time` to a file's modification time in nanoseconds. Return 0 if 64 bits can't hold it. */
static int
time_of(const struct stat *found, long long *time)
{
    if (found->st_mtim.tv_sec > INT64_MAX / SECOND - 1 || found->st_mtim.tv_sec < INT64_MIN / SECOND + 1)
        return 0;
    *time = found->st_mtim.tv_sec * SECOND + found->st_mtim.tv_nsec;
    return 1;
}

/* Whether an open file has no access list. */
static int
has_no_acl(int file)
{
    char byte;
    if (fgetxattr(file, "system.posix_acl_access", &byte, 0) >= 0) return 0;
    return errno == ENOTSUP || errno == ENODATA || errno == ENOSYS;
}

/* Read an open file, which has `size` bytes before and after. */
static int
read_open(int file, char *data, size_t size, int is_mode_kept, struct stat *found)
{
    if (fstat(file, found) || !S_ISREG(found->st_mode) || found->st_nlink != 1) return 0;
    if ((size_t)found->st_size != size) return 0;
    if (is_mode_kept && found->st_mode & S_IRWXG && !has_no_acl(file)) return 0;
    if (fcntl(file, F_SETFL, 0)) return 0; /* wait for a file on tape */
    if (size && pread(file, data, size, 0) != (ssize_t)size) return 0;
    return !fstat(file, found) && (size_t)found->st_size == size;
}

PyDoc_STRVAR(read_doc,
"read(folder, name, flags, size, is_mode_kept, /)\n--\n\n"
"Return the bytes, mode, time in nanoseconds, owner, group and path of a regular file.\n\n"
"``name`` is in an open folder, or a path. Return None for a file of another size, with other names\n"
"or an access list, and if anything fails.");

static PyObject *
read_file(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    int folder, flags, is_mode_kept, is_fine = 0;
    const char *name;
    Py_ssize_t size;
    if (!PyArg_ParseTuple(arguments, "iyinp:read", &folder, &name, &flags, &size, &is_mode_kept)) return NULL;
    PyObject *content = PyBytes_FromStringAndSize(NULL, size);
    if (!content) return NULL;
    char *data = PyBytes_AsString(content), path[PATH_BYTES];
    struct stat found;
    long long time = 0;
    ssize_t length = -1;
    Py_BEGIN_ALLOW_THREADS
    const int file = openat(folder, name, flags);
    if (file >= 0) {
        char shown[32];
        snprintf(shown, sizeof shown, "/proc/self/fd/%d", file);
        length = readlink(shown, path, sizeof path);
        is_fine = length > 0 && length < PATH_BYTES
            && read_open(file, data, (size_t)size, is_mode_kept, &found) && time_of(&found, &time);
        is_fine = !close(file) && is_fine;
    }
    Py_END_ALLOW_THREADS
    if (!is_fine) {
        Py_DECREF(content);
        Py_RETURN_NONE;
    }
    return Py_BuildValue("(NILIIy#)", content, (unsigned)found.st_mode, time, (unsigned)found.st_uid,
                         (unsigned)found.st_gid, path, (Py_ssize_t)length);
}

/* Whether no block of a file is zeros, which would be left out. */
static int
has_no_hole(const char *data, size_t size)
{
    for (; size >= BLOCK; data += BLOCK, size -= BLOCK)
        if (!data[0] && !memcmp(data, data + 1, BLOCK - 1)) return 0;
    return 1;
}

/* Write a new file and close it: network filesystems may report a full disk only then. */
static int
write_new(int file, const char *data, size_t size)
{
    const int is_written = pwrite(file, data, size, 0) == (ssize_t)size;
    return !close(file) && is_written;
}

PyDoc_STRVAR(write_doc,
"write(folder, name, data, mode, /)\n--\n\n"
"Make a file in an open folder, close it, open it again and read it back.\n\n"
"Return the descriptor, for reading, and the bytes. Return None, and leave no file, if the data has\n"
"blocks of zeros, and if anything fails.");

static PyObject *
write_file(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    int folder, mode, file = -1, is_fine = 0;
    const char *name;
    Py_buffer data;
    if (!PyArg_ParseTuple(arguments, "iyy*i:write", &folder, &name, &data, &mode)) return NULL;
    const size_t size = (size_t)data.len;
    PyObject *content = PyBytes_FromStringAndSize(NULL, data.len);
    if (!content) {
        PyBuffer_Release(&data);
        return NULL;
    }
    char *back = PyBytes_AsString(content);
    Py_BEGIN_ALLOW_THREADS
    if (has_no_hole(data.buf, size)) {
        const int made = openat(folder, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
        if (made >= 0) {
            struct stat found;
            if (write_new(made, data.buf, size))
                file = openat(folder, name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
            /* A second name means a trap of another user. */
            is_fine = file >= 0 && !fstat(file, &found) && S_ISREG(found.st_mode)
                && found.st_nlink == 1 && (size_t)found.st_size == size
                && pread(file, back, size, 0) == (ssize_t)size;
            if (!is_fine) {
                if (file >= 0) close(file);
                unlinkat(folder, name, 0);
            }
        }
    }
    Py_END_ALLOW_THREADS
    PyBuffer_Release(&data);
    if (!is_fine) {
        Py_DECREF(content);
        Py_RETURN_NONE;
    }
    return Py_BuildValue("(iN)", file, content);
}

/* Set mode and time of an open file, where they aren't negative or missing; whether they were kept. */
static int
set_attributes(int file, int mode, int has_time, long long time)
{
    struct stat found;
    long long kept = 0;
    if (mode >= 0 && fchmod(file, (mode_t)mode)) return 0;
    if (has_time) {
        long long seconds = time / SECOND, rest = time % SECOND;
        if (rest < 0) seconds--, rest += SECOND;
        const struct timespec both[2] = {{seconds, rest}, {seconds, rest}};
        if (futimens(file, both)) return 0;
    }
    if (fstat(file, &found)) return 0;
    if (mode >= 0 && (found.st_mode & 07777) != (mode_t)mode) return 0;
    return !has_time || (time_of(&found, &kept) && llabs(kept - time) <= TIMES_DIFFER);
}

PyDoc_STRVAR(publish_doc,
"publish(file, folder, temporary, name, mode, time, /)\n--\n\n"
"Set the mode and the time in nanoseconds of an open file, and rename it.\n\n"
"A negative mode and a time of None aren't set. Return False before the rename if they weren't kept.\n"
"Raises ``OSError`` if the rename fails.");

static PyObject *
publish_file(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    int file, folder, mode, is_kept, error = 0;
    const char *temporary, *name;
    PyObject *given;
    long long time = 0;
    if (!PyArg_ParseTuple(arguments, "iiyyiO:publish", &file, &folder, &temporary, &name, &mode, &given))
        return NULL;
    const int has_time = given != Py_None;
    if (has_time) {
        time = PyLong_AsLongLong(given);
        if (time == -1 && PyErr_Occurred()) return NULL;
    }
    Py_BEGIN_ALLOW_THREADS
    is_kept = set_attributes(file, mode, has_time, time);
    if (is_kept && renameat(folder, temporary, folder, name)) error = errno;
    Py_END_ALLOW_THREADS
    if (error) {
        errno = error;
        return PyErr_SetFromErrno(PyExc_OSError);
    }
    return PyBool_FromLong(is_kept);
}

static PyMethodDef methods[] = {
    {"read", read_file, METH_VARARGS, read_doc},
    {"write", write_file, METH_VARARGS, write_doc},
    {"publish", publish_file, METH_VARARGS, publish_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "jobtool.stores.local._whole",
    .m_doc = "Small files, read or written by one call each.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__whole(void)
{
    return PyModule_Create(&definition);
}
