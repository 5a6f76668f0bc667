"""MD5 (RFC 1321): many at a time where that is possible, and resumable by another process.

``hashlib`` hashes one message at a time on a core, and doesn't give access to the state of a
digest. So long messages are hashed by functions that add blocks to a state: that of the extension
``_lanes``, which computes the messages of all threads together, or else that of OpenSSL. Without
either, messages are hashed by ``hashlib`` and have no state. The extension is built where there is
a C compiler, for x86-64 on Linux, and needs a processor with AVX2.

ETags, receipts and manifests need MD5. It isn't used for security.
"""

from __future__ import annotations

import functools
import hashlib
import struct
from collections.abc import Callable, Sequence
from typing import Protocol

#: MD5 hashes blocks of 64 bytes. There is a state between two blocks.
BLOCK_BYTES = 64

#: RFC 1321, section 3.3.
_FIRST_STATE = struct.pack("<4L", 0x67452301, 0xEFCDAB89, 0x98BADCFE, 0x10325476)
_STATE_BYTES = len(_FIRST_STATE)

#: Shorter messages are hashed by ``hashlib``: it takes less time than to meet other threads.
_LONG_BYTES = 256 * 1024

#: Returns the state (16 bytes) after adding data (whole blocks) to a state.
AddBlocks = Callable[[bytes, bytes | memoryview], bytes]

#: How many messages ``update_together`` takes.
MOST_TOGETHER = 16


class Hasher(Protocol):
    """An MD5 that is being computed."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Add data."""

    def hexdigest(self) -> str:
        """Return the digest of the data added so far, in hex. More may be added afterwards."""


class MD5:
    """The MD5 of a long message, from the beginning or from the ``state`` after ``length`` bytes.

    ``is_long`` says that others wait for this one: if it is the only such, and there is more than
    one CPU, it gets one of them for itself. Raises ``ValueError`` for a state if this process can't
    resume one: see ``can_resume``.
    """

    def __init__(self, state: str | None = None, length: int = 0, *, is_long: bool = False) -> None:
        add_blocks = block_function()
        if is_long and add_blocks is not None and add_blocks is _usable_lanes():
            from jobtool.md5._lanes import update_long as add_blocks
        if add_blocks is None and state is not None:
            raise ValueError("no library here can resume a digest from its state")
        self._add_blocks = add_blocks
        self._plain = hashlib.md5(usedforsecurity=False) if add_blocks is None else None
        self._state = bytes.fromhex(state) if state is not None else _FIRST_STATE
        self._length = length
        self._rest = b""  # of the last block, if that isn't whole

    def update(self, data: bytes | memoryview) -> None:
        """Add data. Threads may update different digests at the same time."""
        self._length += len(data)
        if self._add_blocks is None:
            assert self._plain is not None
            self._plain.update(data)
            return
        rest = memoryview(data)
        if self._rest:
            missing = BLOCK_BYTES - len(self._rest)
            self._rest += rest[:missing]
            rest = rest[missing:]
            if len(self._rest) < BLOCK_BYTES:
                return
            self._state = self._add_blocks(self._state, self._rest)
        end = len(rest) - len(rest) % BLOCK_BYTES
        self._state = self._add_blocks(self._state, data if end == len(data) else rest[:end])
        self._rest = bytes(rest[end:])

    def hexdigest(self) -> str:
        """Return the digest of the data added so far, in hex. More may be added afterwards."""
        if self._add_blocks is None:
            assert self._plain is not None
            return self._plain.hexdigest()
        return _finished(self._add_blocks, self._state, self._length, self._rest)

    @property
    def state(self) -> str | None:
        """The state in hex. None within a block of 64 bytes, and where no state is known."""
        if self._add_blocks is None or self._length % BLOCK_BYTES:
            return None
        return self._state.hex()


def update_together(hashers: Sequence[MD5], chunks: Sequence[bytes | memoryview]) -> None:
    """Add one chunk to each of up to ``MOST_TOGETHER`` MD5s.

    With the extension that takes a thread less time than to add them one after the other.
    """
    lanes = _usable_lanes()
    if lanes is None or any(h._rest or h._add_blocks is not lanes for h in hashers):
        for hasher, chunk in zip(hashers, chunks, strict=True):
            hasher.update(chunk)
        return
    pairs: list[bytes | memoryview] = []
    for hasher, chunk in zip(hashers, chunks, strict=True):
        pairs += hasher._state, memoryview(chunk)[: len(chunk) - len(chunk) % BLOCK_BYTES]
    states = lanes(*pairs)
    for number, (hasher, chunk) in enumerate(zip(hashers, chunks, strict=True)):
        hasher._state = states[number * _STATE_BYTES : (number + 1) * _STATE_BYTES]
        hasher._length += len(chunk)
        hasher._rest = bytes(chunk[len(chunk) - len(chunk) % BLOCK_BYTES :])


def hasher_for(size: int) -> Hasher:
    """Return an MD5 for a message of about ``size`` bytes. It may have no state."""
    return MD5() if size >= _LONG_BYTES and has_lanes() else hashlib.md5(usedforsecurity=False)


def md5_of(data: bytes | memoryview) -> str:
    """Return the MD5 of ``data`` in hex."""
    if len(data) < _LONG_BYTES or not has_lanes():
        return hashlib.md5(data, usedforsecurity=False).hexdigest()
    hasher = MD5()
    hasher.update(data)
    return hasher.hexdigest()


def md5s_of(messages: Sequence[bytes | memoryview]) -> list[str]:
    """Return the MD5 of each of many small messages in hex.

    With the extension that takes a thread less time than to hash one after the other.
    """
    if len(messages) < 2 or not has_lanes():
        return [md5_of(message) for message in messages]
    from jobtool.md5._lanes import digests

    found = []
    for first in range(0, len(messages), MOST_TOGETHER):
        some = digests(*messages[first : first + MOST_TOGETHER]).hex()
        found += [some[at : at + 32] for at in range(0, len(some), 32)]
    return found


def can_resume() -> bool:
    """Return True if digests have a state in this process, and can be resumed from one."""
    return block_function() is not None


def has_lanes() -> bool:
    """Return True if the extension computes digests here."""
    return _usable_lanes() is not None


@functools.cache
def block_function() -> AddBlocks | None:
    """Return the fastest function here that adds blocks to a state, None if there is none."""
    return _usable_lanes() or by_openssl()


@functools.cache
def _usable_lanes() -> Callable[..., bytes] | None:
    return by_lanes()


def by_lanes() -> Callable[..., bytes] | None:
    """Return the function of the extension, None if it isn't there or can't run here.

    It takes further pairs of a state and data, too.
    """
    try:
        from jobtool.md5._lanes import update
    except ImportError:
        return None
    return update if works(update) else None


def by_openssl() -> AddBlocks | None:
    """Return the function of OpenSSL, None if there is no usable one."""
    from jobtool.md5.openssl import block_functions

    return next(filter(works, block_functions()), None)


def works(add_blocks: AddBlocks) -> bool:
    """Return True if a function computes the same digest as ``hashlib``."""
    first, second = bytes(range(256)), b"jobtool!" * 8 * 99
    state = add_blocks(add_blocks(_FIRST_STATE, first), memoryview(second))
    found = _finished(add_blocks, state, len(first + second), b"")
    return found == hashlib.md5(first + second, usedforsecurity=False).hexdigest()


def _finished(add_blocks: AddBlocks, state: bytes, length: int, rest: bytes) -> str:
    """Return the digest of a message of ``length`` bytes, of which ``rest`` isn't in the state."""
    # RFC 1321, sections 3.1 and 3.2: a bit, zeros, the length in bits.
    zeros = -(len(rest) + 1 + 8) % BLOCK_BYTES
    bits = struct.pack("<Q", length * 8 % 2**64)
    return add_blocks(state, rest + b"\x80" + bytes(zeros) + bits).hex()
