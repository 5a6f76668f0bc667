"""The MD5 of OpenSSL, whose state can be read and set.

``MD5_CTX`` is a public structure (``openssl/md5.h``, the same in all releases), on which
``MD5_Update`` works. It is as fast as ``hashlib.md5``, which uses it too, and ``ctypes``
releases the GIL.
"""

from __future__ import annotations

import contextlib
import ctypes
import struct
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jobtool.md5 import AddBlocks

#: Data that isn't ``bytes`` is copied for OpenSSL in pieces of this size: whole blocks.
_PIECE_BYTES = 1024 * 1024

_LIBRARIES = ("libcrypto.so.3", "libcrypto.so.1.1", "libcrypto.so")


class _Context(ctypes.Structure):
    """OpenSSL's ``MD5_CTX``: the state, the count of bits, the bytes of an unfinished block."""

    _fields_ = (
        ("state", ctypes.c_uint32 * 4),
        ("bits_low", ctypes.c_uint32),
        ("bits_high", ctypes.c_uint32),
        ("block", ctypes.c_uint32 * 16),
        ("block_bytes", ctypes.c_uint),
    )


def block_functions() -> Iterator[AddBlocks]:
    """Yield the functions of all OpenSSLs here. The first is of the one that Python uses."""
    try:
        import _hashlib

        names = [getattr(_hashlib, "__file__", None), *_LIBRARIES]
    except ImportError:
        names = [*_LIBRARIES]
    for name in filter(None, names):
        with contextlib.suppress(OSError, AttributeError):  # no such library, or one without MD5
            yield _block_function(ctypes.CDLL(name))


def _block_function(library: ctypes.CDLL) -> AddBlocks:
    update = library.MD5_Update

    def add_blocks(state: bytes, data: bytes | memoryview) -> bytes:
        # Not by MD5_Init: with FIPS switched on, OpenSSL 1.1.1 of some systems ends the process.
        context = _Context()
        context.state[:] = struct.unpack("<4L", state)
        if isinstance(data, bytes):
            update(ctypes.byref(context), data, ctypes.c_size_t(len(data)))
        else:
            for start in range(0, len(data), _PIECE_BYTES):
                piece = bytes(data[start : start + _PIECE_BYTES])
                update(ctypes.byref(context), piece, ctypes.c_size_t(len(piece)))
        return struct.pack("<4L", *context.state)

    return add_blocks
