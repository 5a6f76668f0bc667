/* MD5 (RFC 1321) of many messages at a time, each in a lane of AVX2's registers.
 *
 * One message can't use a core: each step needs the result of the one before. But messages are
 * independent, so eight of them, one in each 32-bit lane of a register, take little longer than one,
 * and sixteen in two registers little longer than eight.
 *
 * Threads call update() with one message or several, without the GIL. The calls that are under way
 * at the same time are put together: one of the waiting threads computes a slice for up to sixteen
 * messages, and looks again for others before the next slice. While there are about as many CPUs as
 * messages, each thread computes its own.
 */
#define PY_SSIZE_T_CLEAN
#define Py_LIMITED_API 0x030B0000
#include <Python.h>

#if !defined(__x86_64__) || !defined(__GNUC__) || !defined(__linux__)
#error "for x86-64, Linux and GCC or Clang; elsewhere jobtool uses hashlib"
#endif

#include <immintrin.h>
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>

#define BLOCK 64
#define LANES 8
#define MOST (2 * LANES)
/* Blocks of a message in one slice: 64 KiB. A new message waits for a slice at most. */
#define SLICE 1024

/* RFC 1321, section 3.4: each adds a function of b, c and d to a. Of x = b, the step before has just
 * computed the value: what doesn't depend on it comes first. G's terms have no bit in common. The
 * compiler must not add them in another order: LATER(a) says that a is needed here, and
 * -fno-tree-reassoc does the rest. That makes one message 1.15 times as fast, eight 1.25 times. */
#define F(a, x, y, z) a += (z) ^ ((x) & ((y) ^ (z)));
#define G(a, x, y, z) a += (y) & ~(z); LATER(a) a += (x) & (z);
#define H(a, x, y, z) a += (x) ^ ((y) ^ (z));
#define I(a, x, y, z) a += (y) ^ ((x) | ~(z));
#define LATER(a) __asm__("" : LATER_IN(a));
#define ROTATE(x, s) (((x) << (s)) | ((x) >> (32 - (s))))

typedef uint32_t Vector __attribute__((vector_size(32)));

/* Step K of a round on words of type W: a = b + rotated(a + f(b, c, d) + word[k] + constant). */
#define STEP(f, a, b, c, d, k, s, t)              \
    a += w[k] + (uint32_t)(t);                    \
    LATER(a)                                      \
    f(a, b, c, d)                                 \
    a = ROTATE(a, s) + b;
/* The same on two independent vectors, so that one fills the pauses of the other. */
#define STEP2(f, a, b, c, d, k, s, t)             \
    a##0 += w0[k] + (uint32_t)(t);                \
    a##1 += w1[k] + (uint32_t)(t);                \
    LATER(a##0)                                   \
    LATER(a##1)                                   \
    f(a##0, b##0, c##0, d##0)                     \
    f(a##1, b##1, c##1, d##1)                     \
    a##0 = ROTATE(a##0, s) + b##0;                \
    a##1 = ROTATE(a##1, s) + b##1;

#define FOUR(S, f, k0, k1, k2, k3, s0, s1, s2, s3, t0, t1, t2, t3) \
    S(f, a, b, c, d, k0, s0, t0)                  \
    S(f, d, a, b, c, k1, s1, t1)                  \
    S(f, c, d, a, b, k2, s2, t2)                  \
    S(f, b, c, d, a, k3, s3, t3)

/* The constants are floor(2^32 * abs(sin(step))), step from 1 to 64. */
#define ALL_STEPS(S)                                                                              \
    FOUR(S, F, 0, 1, 2, 3, 7, 12, 17, 22, 0xd76aa478, 0xe8c7b756, 0x242070db, 0xc1bdceee)         \
    FOUR(S, F, 4, 5, 6, 7, 7, 12, 17, 22, 0xf57c0faf, 0x4787c62a, 0xa8304613, 0xfd469501)         \
    FOUR(S, F, 8, 9, 10, 11, 7, 12, 17, 22, 0x698098d8, 0x8b44f7af, 0xffff5bb1, 0x895cd7be)       \
    FOUR(S, F, 12, 13, 14, 15, 7, 12, 17, 22, 0x6b901122, 0xfd987193, 0xa679438e, 0x49b40821)     \
    FOUR(S, G, 1, 6, 11, 0, 5, 9, 14, 20, 0xf61e2562, 0xc040b340, 0x265e5a51, 0xe9b6c7aa)         \
    FOUR(S, G, 5, 10, 15, 4, 5, 9, 14, 20, 0xd62f105d, 0x02441453, 0xd8a1e681, 0xe7d3fbc8)        \
    FOUR(S, G, 9, 14, 3, 8, 5, 9, 14, 20, 0x21e1cde6, 0xc33707d6, 0xf4d50d87, 0x455a14ed)         \
    FOUR(S, G, 13, 2, 7, 12, 5, 9, 14, 20, 0xa9e3e905, 0xfcefa3f8, 0x676f02d9, 0x8d2a4c8a)        \
    FOUR(S, H, 5, 8, 11, 14, 4, 11, 16, 23, 0xfffa3942, 0x8771f681, 0x6d9d6122, 0xfde5380c)       \
    FOUR(S, H, 1, 4, 7, 10, 4, 11, 16, 23, 0xa4beea44, 0x4bdecfa9, 0xf6bb4b60, 0xbebfbc70)        \
    FOUR(S, H, 13, 0, 3, 6, 4, 11, 16, 23, 0x289b7ec6, 0xeaa127fa, 0xd4ef3085, 0x04881d05)        \
    FOUR(S, H, 9, 12, 15, 2, 4, 11, 16, 23, 0xd9d4d039, 0xe6db99e5, 0x1fa27cf8, 0xc4ac5665)       \
    FOUR(S, I, 0, 7, 14, 5, 6, 10, 15, 21, 0xf4292244, 0x432aff97, 0xab9423a7, 0xfc93a039)        \
    FOUR(S, I, 12, 3, 10, 1, 6, 10, 15, 21, 0x655b59c3, 0x8f0ccc92, 0xffeff47d, 0x85845dd1)       \
    FOUR(S, I, 8, 15, 6, 13, 6, 10, 15, 21, 0x6fa87e4f, 0xfe2ce6e0, 0xa3014314, 0x4e0811a1)       \
    FOUR(S, I, 4, 11, 2, 9, 6, 10, 15, 21, 0xf7537e82, 0xbd3af235, 0x2ad7d2bb, 0xeb86d391)

/* A thread that waits for its messages: how many of them aren't done. */
typedef struct Call {
    int left, is_waiting;
    pthread_cond_t changed;
} Call;

/* A message that a thread wants to add to a state. */
typedef struct Message {
    uint32_t state[4];
    const uint8_t *data;
    size_t blocks;
    Call *call;
    struct Message *next;
} Message;

/* RFC 1321, section 3.3: the state before the first block. */
static const uint32_t begun[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};

/* The kind of register that LATER names. */
#define LATER_IN(a) "+r"(a)
/* One message, in general registers. */
static void
add_one(uint32_t state[4], const uint8_t *data, size_t blocks)
{
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    for (; blocks; blocks--, data += BLOCK) {
        const uint32_t a_before = a, b_before = b, c_before = c, d_before = d;
        uint32_t w[16];
        memcpy(w, data, BLOCK); /* x86 is little-endian, like MD5 */
        ALL_STEPS(STEP)
        a += a_before, b += b_before, c += c_before, d += d_before;
    }
    state[0] = a, state[1] = b, state[2] = c, state[3] = d;
}

#undef LATER_IN
#define LATER_IN(a) "+x"(a)
/* Words 0 to 7, or 8 to 15, of eight blocks: row k of `w` gets word k of each block. */
__attribute__((target("avx2"), always_inline)) static inline void
transpose(const uint8_t *const data[LANES], size_t at, Vector w[8])
{
    __m256i r[8], s[8];
    for (int i = 0; i < 8; i++) r[i] = _mm256_loadu_si256((const __m256i *)(data[i] + at));
    for (int i = 0; i < 8; i += 2) {
        s[i] = _mm256_unpacklo_epi32(r[i], r[i + 1]);
        s[i + 1] = _mm256_unpackhi_epi32(r[i], r[i + 1]);
    }
    for (int i = 0; i < 8; i += 4) {
        r[i] = _mm256_unpacklo_epi64(s[i], s[i + 2]);
        r[i + 1] = _mm256_unpackhi_epi64(s[i], s[i + 2]);
        r[i + 2] = _mm256_unpacklo_epi64(s[i + 1], s[i + 3]);
        r[i + 3] = _mm256_unpackhi_epi64(s[i + 1], s[i + 3]);
    }
    for (int i = 0; i < 4; i++) {
        w[i] = (Vector)_mm256_permute2x128_si256(r[i], r[i + 4], 0x20);
        w[i + 4] = (Vector)_mm256_permute2x128_si256(r[i], r[i + 4], 0x31);
    }
}

/* The same number of blocks of eight messages. `state` has a row for each of a, b, c and d. */
__attribute__((target("avx2"))) static void
add_eight(Vector state[4], const uint8_t *const data[LANES], size_t blocks)
{
    Vector a = state[0], b = state[1], c = state[2], d = state[3];
    for (size_t at = 0; at < blocks * BLOCK; at += BLOCK) {
        const Vector a_before = a, b_before = b, c_before = c, d_before = d;
        Vector w[16];
        transpose(data, at, w);
        transpose(data, at + BLOCK / 2, w + 8);
        ALL_STEPS(STEP)
        a += a_before, b += b_before, c += c_before, d += d_before;
    }
    state[0] = a, state[1] = b, state[2] = c, state[3] = d;
}

/* The same for sixteen. */
__attribute__((target("avx2"))) static void
add_sixteen(Vector state[8], const uint8_t *const data[MOST], size_t blocks)
{
    Vector a0 = state[0], b0 = state[1], c0 = state[2], d0 = state[3];
    Vector a1 = state[4], b1 = state[5], c1 = state[6], d1 = state[7];
    for (size_t at = 0; at < blocks * BLOCK; at += BLOCK) {
        const Vector p0 = a0, q0 = b0, r0 = c0, s0 = d0, p1 = a1, q1 = b1, r1 = c1, s1 = d1;
        Vector w0[16], w1[16];
        transpose(data, at, w0);
        transpose(data, at + BLOCK / 2, w0 + 8);
        transpose(data + LANES, at, w1);
        transpose(data + LANES, at + BLOCK / 2, w1 + 8);
        ALL_STEPS(STEP2)
        a0 += p0, b0 += q0, c0 += r0, d0 += s0, a1 += p1, b1 += q1, c1 += r1, d1 += s1;
    }
    state[0] = a0, state[1] = b0, state[2] = c0, state[3] = d0;
    state[4] = a1, state[5] = b1, state[6] = c1, state[7] = d1;
}

/* One slice of up to MOST messages: as many blocks as all of them still have, at most SLICE. */
static void
add_slice(Message *const taken[], int count)
{
    size_t blocks = SLICE;
    for (int i = 0; i < count; i++)
        if (taken[i]->blocks < blocks) blocks = taken[i]->blocks;
    if (count == 1) {
        add_one(taken[0]->state, taken[0]->data, blocks);
    } else {
        const int wide = count > LANES;
        const uint8_t *data[MOST];
        union { Vector rows[8]; uint32_t words[8][LANES]; } state = {0};
        for (int i = 0; i < (wide ? MOST : LANES); i++) {
            const Message *m = taken[i < count ? i : 0]; /* idle lanes repeat the first */
            data[i] = m->data;
            for (int row = 0; row < 4; row++)
                state.words[i / LANES * 4 + row][i % LANES] = m->state[row];
        }
        if (wide) add_sixteen(state.rows, data, blocks);
        else add_eight(state.rows, data, blocks);
        for (int i = 0; i < count; i++)
            for (int row = 0; row < 4; row++)
                taken[i]->state[row] = state.words[i / LANES * 4 + row][i % LANES];
    }
    for (int i = 0; i < count; i++) {
        taken[i]->data += blocks * BLOCK;
        taken[i]->blocks -= blocks;
    }
}

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static Message *first, **last = &first; /* messages that no thread computes now */
static int queued, under_way, computing; /* messages in the queue, all messages, threads at work */
static int longs, alone; /* long messages under way; whether a thread computes one of them alone */
static int cpus = 1;

static void
put_last(Message *m)
{
    m->next = NULL;
    *last = m;
    last = &m->next;
    queued++;
}

/* Take a message out of the queue: the first one, or of a call the first one of that. NULL: none. */
static Message *
take(const Call *call)
{
    Message **link = &first, *m;
    while (*link && call && (*link)->call != call) link = &(*link)->next;
    if ((m = *link) == NULL) return NULL;
    *link = m->next;
    if (last == &m->next) last = link;
    queued--;
    return m;
}

/* The CPUs for all but a long message that a thread computes alone. */
static int
cpus_left(void)
{
    return cpus - alone;
}

/* Whether each thread should compute its own message. A lane has half the speed of a whole core: lanes
 * take less CPU time from three messages a core on, and are faster from two for each CPU on. */
static int
is_each_alone(void)
{
    return 4 * under_way <= 5 * cpus_left();
}

/* How many threads should compute: as few as fill their lanes. */
static int
threads_wanted(void)
{
    const int wanted = is_each_alone() ? cpus_left() : (under_way + LANES - 1) / LANES;
    return wanted < cpus_left() ? wanted : cpus_left();
}

/* How many messages a thread should take. */
static int
share(void)
{
    const int threads = threads_wanted();
    const int most = is_each_alone() ? 1 : (under_way + threads - 1) / threads;
    return most < MOST ? most : MOST;
}

/* Wake one thread that has a message in the queue, if one more than `others` should compute. */
static void
wake_next(int others)
{
    if (computing + others >= threads_wanted()) return;
    for (Message *m = first; m; m = m->next)
        if (m->call->is_waiting) {
            m->call->is_waiting = 0;
            pthread_cond_signal(&m->call->changed);
            return;
        }
}

/* Compute the messages of a call to their ends, together with those of other threads. */
static void
add(Message *mine, Call *call)
{
    pthread_mutex_lock(&lock);
    for (int i = 0; i < call->left; i++) {
        under_way++;
        put_last(&mine[i]);
    }
    wake_next(1);
    while (call->left) {
        Message *taken[MOST];
        int count = 0;
        if (computing < threads_wanted() && (taken[0] = take(call)) != NULL) count = 1;
        if (!count) { /* other threads have them, or will take them */
            call->is_waiting = 1;
            pthread_cond_wait(&call->changed, &lock);
            call->is_waiting = 0;
            continue;
        }
        for (const int most = share(); count < most && (taken[count] = take(NULL)) != NULL;) count++;
        computing++;
        pthread_mutex_unlock(&lock);
        add_slice(taken, count);
        pthread_mutex_lock(&lock);
        computing--;
        for (int i = 0; i < count; i++) {
            if (taken[i]->blocks) {
                put_last(taken[i]);
            } else {
                under_way--;
                if (!--taken[i]->call->left) pthread_cond_signal(&taken[i]->call->changed);
            }
        }
        wake_next(call->left > 0);
    }
    pthread_mutex_unlock(&lock);
}

/* Compute a long message at the speed of a CPU if it is the only one, else together with others.
 * The whole of a file waits for itself, part by part: in a lane it would take twice as long. */
static void
add_long(Message *mine, Call *call)
{
    pthread_mutex_lock(&lock);
    const int is_alone = !longs++ && cpus > 1;
    if (is_alone) alone = 1;
    pthread_mutex_unlock(&lock);
    if (is_alone) add_one(mine->state, mine->data, mine->blocks);
    else add(mine, call);
    pthread_mutex_lock(&lock);
    longs--;
    if (is_alone) {
        alone = 0;
        wake_next(0);
    }
    pthread_mutex_unlock(&lock);
}

PyDoc_STRVAR(update_doc,
"update(state, data, /, *more)\n--\n\n"
"Return the state of an MD5 after more data, without the GIL.\n\n"
"``state`` has 16 bytes, as in RFC 1321: the words A, B, C and D, little-endian. The length of\n"
"``data`` is a multiple of 64 bytes. Further pairs of them are computed together with the first,\n"
"up to 16 in all. Returns their states one after the other. Raises ``ValueError`` for others.");

static PyObject *
computed(PyObject *arguments, Py_ssize_t most, void (*compute)(Message *, Call *))
{
    Py_buffer buffers[2 * MOST];
    Message messages[MOST];
    Call call = {0};
    const Py_ssize_t given = PyTuple_Size(arguments);
    Py_ssize_t got = 0;
    PyObject *result = NULL;
    if (given < 2 || given % 2 || given > 2 * most) {
        PyErr_Format(PyExc_TypeError, "expected 1 to %zd states, each with its data", most);
        return NULL;
    }
    for (; got < given; got++)
        if (PyObject_GetBuffer(PyTuple_GetItem(arguments, got), &buffers[got], PyBUF_SIMPLE)) goto end;
    for (Py_ssize_t i = 0; i < given; i += 2) {
        if (buffers[i].len != 16 || buffers[i + 1].len % BLOCK) {
            PyErr_Format(PyExc_ValueError,
                         "expected a state of 16 bytes and data of a multiple of %d bytes; found %zd "
                         "and %zd", BLOCK, buffers[i].len, buffers[i + 1].len);
            goto end;
        }
    }
    /* Those without any block keep their states. */
    uint32_t states[MOST][4];
    int of[MOST];
    for (Py_ssize_t i = 0; i < given / 2; i++) {
        memcpy(states[i], buffers[2 * i].buf, 16);
        const size_t blocks = (size_t)buffers[2 * i + 1].len / BLOCK;
        if (!blocks) continue;
        Message *m = &messages[call.left];
        *m = (Message){.data = buffers[2 * i + 1].buf, .blocks = blocks, .call = &call};
        memcpy(m->state, states[i], 16);
        of[call.left++] = (int)i;
    }
    if (call.left) {
        const int count = call.left;
        pthread_cond_init(&call.changed, NULL);
        Py_BEGIN_ALLOW_THREADS
        compute(messages, &call);
        Py_END_ALLOW_THREADS
        pthread_cond_destroy(&call.changed);
        for (int i = 0; i < count; i++) memcpy(states[of[i]], messages[i].state, 16);
    }
    result = PyBytes_FromStringAndSize((const char *)states, given / 2 * 16);
end:
    while (got--) PyBuffer_Release(&buffers[got]);
    return result;
}

static PyObject *
update(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return computed(arguments, MOST, add);
}

PyDoc_STRVAR(update_long_doc,
"update_long(state, data, /)\n--\n\n"
"Like ``update`` with one message that others wait for. If it is the only such message, a CPU is\n"
"left to it.");

static PyObject *
update_long(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    return computed(arguments, 1, add_long);
}

PyDoc_STRVAR(digests_doc,
"digests(message, /, *more)\n--\n\n"
"Return the MD5s of up to 16 whole messages, 16 bytes each, without the GIL.");

static PyObject *
digests(PyObject *Py_UNUSED(module), PyObject *arguments)
{
    Py_buffer buffers[MOST];
    Message messages[MOST], *added = messages;
    Call call = {0};
    uint32_t states[MOST][4];
    uint8_t tails[MOST][2 * BLOCK];
    const Py_ssize_t given = PyTuple_Size(arguments);
    Py_ssize_t got = 0;
    PyObject *result = NULL;
    if (given < 1 || given > MOST) {
        PyErr_Format(PyExc_TypeError, "expected 1 to %d messages", MOST);
        return NULL;
    }
    for (; got < given; got++)
        if (PyObject_GetBuffer(PyTuple_GetItem(arguments, got), &buffers[got], PyBUF_SIMPLE)) goto end;
    pthread_cond_init(&call.changed, NULL);
    Py_BEGIN_ALLOW_THREADS
    int of[MOST];
    for (Py_ssize_t i = 0; i < given; i++) {
        const size_t blocks = (size_t)buffers[i].len / BLOCK;
        memcpy(states[i], begun, sizeof begun);
        if (!blocks) continue;
        *added = (Message){.data = buffers[i].buf, .blocks = blocks, .call = &call};
        memcpy(added->state, begun, sizeof begun);
        of[added++ - messages] = (int)i;
    }
    call.left = (int)(added - messages);
    if (call.left) add(messages, &call);
    for (const Message *m = messages; m < added; m++) memcpy(states[of[m - messages]], m->state, 16);
    /* RFC 1321, sections 3.1 and 3.2: a bit, zeros, the length in bits. */
    for (Py_ssize_t i = 0; i < given; i++) {
        const size_t size = (size_t)buffers[i].len, rest = size % BLOCK;
        const size_t blocks = rest + 1 + 8 <= BLOCK ? 1 : 2;
        const uint64_t bits = (uint64_t)size * 8;
        memset(tails[i], 0, sizeof tails[i]);
        if (rest) memcpy(tails[i], (const uint8_t *)buffers[i].buf + size - rest, rest);
        tails[i][rest] = 0x80;
        memcpy(tails[i] + blocks * BLOCK - 8, &bits, 8);
        messages[i] = (Message){.data = tails[i], .blocks = blocks, .call = &call};
        memcpy(messages[i].state, states[i], 16);
    }
    call.left = (int)given;
    add(messages, &call);
    for (Py_ssize_t i = 0; i < given; i++) memcpy(states[i], messages[i].state, 16);
    Py_END_ALLOW_THREADS
    pthread_cond_destroy(&call.changed);
    result = PyBytes_FromStringAndSize((const char *)states, given * 16);
end:
    while (got--) PyBuffer_Release(&buffers[got]);
    return result;
}

/* Whether lanes compute the same as one message alone. */
static int
is_sound(void)
{
    static uint8_t data[MOST][3 * BLOCK];
    uint32_t word = 1;
    for (int i = 0; i < MOST; i++)
        for (int k = 0; k < 3 * BLOCK; k++) data[i][k] = (uint8_t)((word = word * 1664525 + 1013904223) >> 24);
    for (int count = 2; count <= MOST; count++) {
        Message messages[MOST], *taken[MOST];
        for (int i = 0; i < count; i++) {
            messages[i] = (Message){.data = data[i], .blocks = 3};
            memcpy(messages[i].state, begun, sizeof begun);
            taken[i] = &messages[i];
        }
        add_slice(taken, count);
        for (int i = 0; i < count; i++) {
            uint32_t expected[4];
            memcpy(expected, begun, sizeof begun);
            add_one(expected, data[i], 3);
            if (memcmp(expected, messages[i].state, sizeof expected)) return 0;
        }
    }
    return 1;
}

/* In a child process no other thread lives, and what they did is forgotten. */
static void
forget(void)
{
    pthread_mutex_init(&lock, NULL);
    first = NULL, last = &first;
    queued = under_way = computing = longs = alone = 0;
}

static PyMethodDef methods[] = {
    {"update", update, METH_VARARGS, update_doc},
    {"update_long", update_long, METH_VARARGS, update_long_doc},
    {"digests", digests, METH_VARARGS, digests_doc},
    {NULL, NULL, 0, NULL},
};

static struct PyModuleDef definition = {
    PyModuleDef_HEAD_INIT,
    .m_name = "jobtool.md5._lanes",
    .m_doc = "MD5 of many messages at a time, in AVX2's registers.",
    .m_size = -1,
    .m_methods = methods,
};

PyMODINIT_FUNC
PyInit__lanes(void)
{
    if (!__builtin_cpu_supports("avx2")) {
        PyErr_SetString(PyExc_ImportError, "this processor has no AVX2");
        return NULL;
    }
    if (!is_sound()) {
        PyErr_SetString(PyExc_ImportError, "AVX2 computes other digests here than one lane");
        return NULL;
    }
    cpu_set_t allowed;
    if (sched_getaffinity(0, sizeof allowed, &allowed) == 0) cpus = CPU_COUNT(&allowed);
    pthread_atfork(NULL, NULL, forget);
    return PyModule_Create(&definition);
}
