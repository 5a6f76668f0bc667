/* Small files, many of which are read or written by one call, without the GIL.
 *
 * These functions do what reading.py and writing.py do call by call, if nothing unusual is met. Else
 * they undo what they did for that file and say so, and the caller goes the general way for it, which
 * knows what to say or do about it. So no function here interprets an error.
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

/* A C array of `count` structs of `size` bytes, zeroed. NULL, with an error set, if there is no room. */
static void *
room_for(Py_ssize_t count, size_t size)
{
    void *room = calloc((size_t)count + 1, size);
    if (!room) PyErr_NoMemory();
    return room;
}

/* A file to be read. */
typedef struct Read {
    int folder, flags, is_fine;
    const char *name;
    Py_ssize_t size;
    PyObject *content;
    char *data;
    struct stat found;
    long long time;
} Read;

/* Whether an open file lies below the path `inside`, which ends with a slash. */
static int
is_inside(int file, const char *inside)
{
    char shown[32], path[PATH_BYTES];
    snprintf(shown, sizeof shown, "/proc/self/fd/%d", file);
    const ssize_t length = readlink(shown, path, sizeof path);
    const size_t wanted = strlen(inside);
    return length >= (ssize_t)wanted && length < PATH_BYTES && !memcmp(path, inside, wanted);
}

static void
read_one(Read *one, const char *inside, int is_mode_kept)
{
    const int file = openat(one->folder, one->name, one->flags);
    if (file < 0) return;
    one->is_fine = (!*inside || is_inside(file, inside))
        && read_open(file, one->data, (size_t)one->size, is_mode_kept, &one->found)
        && time_of(&one->found, &one->time);
    one->is_fine = !close(file) && one->is_fine;
}

PyDoc_STRVAR(read_doc,
"read(files, inside, is_mode_kept, /)\n--\n\n"
"Return the bytes, mode, time in nanoseconds, owner and group of each of a list of regular files.\n\n"
"A file is an open folder, a name in it or a path, flags to open it, and its size in bytes. None\n"
"stands for a file of another size, with other names or an access list, one that isn't below\n"
"``inside``, and for any failure. ``inside`` ends with a slash; if it is empty, it isn't compared.");

static PyObject *
read_files(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *files, *result = NULL;
    const char *inside;
    int is_mode_kept;
    if (!PyArg_ParseTuple(arguments, "O!yp:read", &PyList_Type, &files, &inside, &is_mode_kept))
        return NULL;
    const Py_ssize_t count = PyList_Size(files);
    Read *all = room_for(count, sizeof *all);
    if (!all) return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        Read *one = &all[i];
        if (!PyArg_ParseTuple(PyList_GetItem(files, i), "iyin", &one->folder, &one->name, &one->flags,
                              &one->size))
            goto end;
        one->content = PyBytes_FromStringAndSize(NULL, one->size);
        if (!one->content) goto end;
        one->data = PyBytes_AsString(one->content);
    }
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) read_one(&all[i], inside, is_mode_kept);
    Py_END_ALLOW_THREADS
    result = PyList_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++) {
        const Read *one = &all[i];
        PyObject *found = Py_NewRef(Py_None);
        if (one->is_fine) {
            Py_DECREF(found);
            found = Py_BuildValue("(OILII)", one->content, (unsigned)one->found.st_mode, one->time,
                                  (unsigned)one->found.st_uid, (unsigned)one->found.st_gid);
        }
        if (!found || PyList_SetItem(result, i, found)) Py_CLEAR(result);
    }
end:
    for (Py_ssize_t i = 0; i < count; i++) Py_XDECREF(all[i].content);
    free(all);
    return result;
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

/* A file to be made, and what was read back of it. `file` is open for reading, or -1. */
typedef struct Made {
    int folder, mode, file;
    const char *name;
    Py_buffer data;
    PyObject *content;
    char *back;
} Made;

static void
make_one(Made *one)
{
    const size_t size = (size_t)one->data.len;
    struct stat found;
    if (!has_no_hole(one->data.buf, size)) return;
    const int made = openat(one->folder, one->name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                            one->mode);
    if (made < 0) return;
    int file = -1;
    if (write_new(made, one->data.buf, size))
        file = openat(one->folder, one->name, O_RDONLY | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
    /* A second name means a trap of another user. */
    if (file >= 0 && !fstat(file, &found) && S_ISREG(found.st_mode) && found.st_nlink == 1
        && (size_t)found.st_size == size && pread(file, one->back, size, 0) == (ssize_t)size) {
        one->file = file;
        return;
    }
    if (file >= 0) close(file);
    unlinkat(one->folder, one->name, 0);
}

PyDoc_STRVAR(write_doc,
"write(files, /)\n--\n\n"
"Make each of a list of files, close it, open it again and read it back.\n\n"
"A file is an open folder, a name in it, the data and a mode. Return for each its descriptor, for\n"
"reading, and the bytes. None stands for data that has blocks of zeros, and for any failure: such a\n"
"file isn't left.");

static PyObject *
write_files(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *files, *result = NULL;
    Py_ssize_t got = 0;
    if (!PyArg_ParseTuple(arguments, "O!:write", &PyList_Type, &files)) return NULL;
    const Py_ssize_t count = PyList_Size(files);
    Made *all = room_for(count, sizeof *all);
    if (!all) return NULL;
    for (; got < count; got++) {
        Made *one = &all[got];
        one->file = -1;
        if (!PyArg_ParseTuple(PyList_GetItem(files, got), "iyy*i", &one->folder, &one->name, &one->data,
                              &one->mode))
            goto end;
        one->content = PyBytes_FromStringAndSize(NULL, one->data.len);
        if (!one->content) {
            got++;
            goto end;
        }
        one->back = PyBytes_AsString(one->content);
    }
    /* What can fail in Python comes first: no descriptor may be lost. */
    result = PyList_New(count);
    for (Py_ssize_t i = 0; result && i < count; i++)
        if (PyList_SetItem(result, i, Py_NewRef(Py_None))) Py_CLEAR(result);
    if (!result) goto end;
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) make_one(&all[i]);
    Py_END_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        Made *one = &all[i];
        if (one->file < 0) continue;
        PyObject *found = Py_BuildValue("(iO)", one->file, one->content);
        if (found && !PyList_SetItem(result, i, found)) continue;
        PyErr_Clear(); /* no memory: as a file that couldn't be made */
        close(one->file);
        unlinkat(one->folder, one->name, 0);
    }
end:
    while (got--) {
        PyBuffer_Release(&all[got].data);
        Py_XDECREF(all[got].content);
    }
    free(all);
    return result;
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

/* A file to be renamed. */
typedef struct Published {
    int file, folder, mode, has_time, is_done;
    const char *temporary, *name;
    long long time;
} Published;

static void
publish_one(Published *one)
{
    one->is_done = set_attributes(one->file, one->mode, one->has_time, one->time)
        && !renameat(one->folder, one->temporary, one->folder, one->name);
    if (one->is_done) close(one->file);
}

PyDoc_STRVAR(publish_doc,
"publish(files, /)\n--\n\n"
"Set the mode and the time in nanoseconds of each of a list of open files, rename and close it.\n\n"
"A file is its descriptor, its open folder, its name, the new name, a mode and a time. A negative\n"
"mode and a time of None aren't set. Return for each whether that was done. If an attribute wasn't\n"
"kept, or the rename has failed, the file is neither renamed nor closed.");

static PyObject *
publish_files(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    PyObject *files, *result = NULL;
    if (!PyArg_ParseTuple(arguments, "O!:publish", &PyList_Type, &files)) return NULL;
    const Py_ssize_t count = PyList_Size(files);
    Published *all = room_for(count, sizeof *all);
    if (!all) return NULL;
    for (Py_ssize_t i = 0; i < count; i++) {
        Published *one = &all[i];
        PyObject *time;
        if (!PyArg_ParseTuple(PyList_GetItem(files, i), "iiyyiO", &one->file, &one->folder,
                              &one->temporary, &one->name, &one->mode, &time))
            goto end;
        if ((one->has_time = time != Py_None)) {
            one->time = PyLong_AsLongLong(time);
            if (one->time == -1 && PyErr_Occurred()) goto end;
        }
    }
    result = PyBytes_FromStringAndSize(NULL, count);
    if (!result) goto end;
    char *done = PyBytes_AsString(result);
    Py_BEGIN_ALLOW_THREADS
    for (Py_ssize_t i = 0; i < count; i++) {
        publish_one(&all[i]);
        done[i] = (char)all[i].is_done;
    }
    Py_END_ALLOW_THREADS
end:
    free(all);
    return result;
}

static PyMethodDef methods[] = {
    {"read", read_files, METH_VARARGS, read_doc},
    {"write", write_files, METH_VARARGS, write_doc},
    {"publish", publish_files, METH_VARARGS, publish_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "jobtool.stores.local._whole",
    .m_doc = "Small files, read or written many by one call.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__whole(void)
{
    return PyModule_Create(&definition);
}
