"""The MD5 of a long file, in a form that another process can resume.

``hashlib`` doesn't give access to the state of a digest. OpenSSL does: ``MD5_CTX`` is a public
structure (``openssl/md5.h``, the same in all releases), which ``MD5_Update`` and ``MD5_Final`` work
on. They are as fast as ``hashlib.md5``, which uses them too, and ``ctypes`` releases the GIL for
them. Without OpenSSL, files are hashed by ``hashlib`` and have no state.
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import struct

#: MD5 hashes blocks of 64 bytes (RFC 1321). There is a state between two blocks.
BLOCK_BYTES = 64

#: RFC 1321, section 3.3.
_FIRST_STATE = struct.pack("<4L", 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)

#: Data that isn't ``bytes`` is copied for OpenSSL in pieces of this size.
_PIECE_BYTES = 1024 * 1024

_LIBRARIES = ("libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so")


class ResumableMD5:
    """An MD5, from the beginning or from the ``state`` after ``length`` bytes.

    Raises ``ValueError`` for a state if this process can't resume one: see ``can_resume``.
    """

    def __init__(self, state: str | None = None, length: int = 0) -> None:
        library = openssl()
        if library is None and state is not None:
            raise ValueError("no library here can resume a digest from its state")
        begun = bytes.fromhex(state) if state is not None else _FIRST_STATE
        self._length = length
        self._hasher = _Plain() if library is None else _ByOpenSSL(library, begun, length)

    def update(self, data: bytes | memoryview) -> None:
        """Add data."""
        self._length += len(data)
        self._hasher.update(data)

    def hexdigest(self) -> str:
        """Return the digest of the data added so far, in hex. More may be added afterwards."""
        return self._hasher.hexdigest()

    @property
    def state(self) -> str | None:
        """The state in hex. None within a block of 64 bytes, and without OpenSSL."""
        return None if self._length % BLOCK_BYTES else self._hasher.state


def can_resume() -> bool:
    """Return True if digests have a state in this process, and can be resumed from one."""
    return openssl() is not None


class _Plain:
    """An MD5 by ``hashlib``."""

    state = None

    def __init__(self) -> None:
        hasher = hashlib.md5(usedforsecurity=False)
        self.update, self.hexdigest = hasher.update, hasher.hexdigest


class _Context(ctypes.Structure):
    """OpenSSL's ``MD5_CTX``: the state, the count of bits, the bytes of an unfinished block."""

    _fields_ = (
        ("state", ctypes.c_uint32 * 4),
        ("bits_low", ctypes.c_uint32),
        ("bits_high", ctypes.c_uint32),
        ("block", ctypes.c_uint32 * 16),
        ("block_bytes", ctypes.c_uint),
    )


class _ByOpenSSL:
    """An MD5 by OpenSSL, from a state of 16 bytes and the number of bytes hashed before."""

    def __init__(self, library: ctypes.CDLL, state: bytes, length: int) -> None:
        self._library = library
        # Not by MD5_Init: with FIPS switched on, OpenSSL 1.1.1 of some systems ends the process.
        self._context = _Context()
        self._context.state[:] = struct.unpack("<4L", state)
        self._context.bits_low = (length * 8) & 0xFFFFFFFF
        self._context.bits_high = (length * 8 >> 32) & 0xFFFFFFFF

    def update(self, data: bytes | memoryview) -> None:
        if isinstance(data, bytes):
            self._add(data)
            return
        for start in range(0, len(data), _PIECE_BYTES):
            self._add(bytes(data[start : start + _PIECE_BYTES]))

    def _add(self, data: bytes) -> None:
        context = ctypes.byref(self._context)
        self._library.MD5_Update(context, data, ctypes.c_size_t(len(data)))

    def hexdigest(self) -> str:
        copy = _Context.from_buffer_copy(self._context)
        digest = ctypes.create_string_buffer(16)
        self._library.MD5_Final(digest, ctypes.byref(copy))
        return digest.raw.hex()

    @property
    def state(self) -> str:
        return struct.pack("<4L", *self._context.state).hex()


@functools.cache
def openssl() -> ctypes.CDLL | None:
    """Return a usable OpenSSL, None if there is none. Try the one that Python uses first."""
    try:
        import _hashlib

        names = [getattr(_hashlib, "__file__", None), *_LIBRARIES]
    except ImportError:
        names = [*_LIBRARIES]
    for name in names:
        if name is None:
            continue
        try:
            library = ctypes.CDLL(name)
            if _works(library):
                return library
        except (OSError, AttributeError):  # no such library, or one without MD5
            continue
    return None


def _works(library: ctypes.CDLL) -> bool:
    """Return True if a digest that a library resumes is the same as that of ``hashlib``."""
    first, second = bytes(range(256)), b"jobtool" * 99
    begun = _ByOpenSSL(library, _FIRST_STATE, 0)
    begun.update(first)
    resumed = _ByOpenSSL(library, bytes.fromhex(begun.state), len(first))
    resumed.update(second)
    return resumed.hexdigest() == hashlib.md5(first + second, usedforsecurity=False).hexdigest()
