"""The CRC-32C of a whole from those of its parts, and Google's form of it.

A CRC is linear over GF(2). So the CRC of two pieces is that of the first, moved over as many zero
bytes as the second has, XOR that of the second. The move is a 32 by 32 matrix of bits, which is
squared for each doubling of the length. Source: Mark Adler, zlib, ``crc32_combine``; the polynomial
is Castagnoli's, reflected (RFC 3720, 12.1).
"""

from __future__ import annotations

import base64
from collections.abc import Iterable

_POLYNOMIAL = 0x82F63B78


def combined(pieces: Iterable[tuple[int, int]]) -> int:
    """Return the CRC of pieces in their order, each given by its CRC and its size in bytes."""
    whole = 0
    for crc, size in pieces:
        whole = _moved(whole, size) ^ crc
    return whole


def as_base64(crc: int) -> str:
    """Return a CRC as the service writes it: base64 of its bytes, the highest first."""
    return base64.b64encode(crc.to_bytes(4, "big")).decode()


def _moved(crc: int, size: int) -> int:
    """Return a CRC moved over ``size`` zero bytes."""
    bit = 0
    while crc and size >> bit:
        if size >> bit & 1:
            crc = _times(_move_by_power(bit), crc)
        bit += 1
    return crc


_powers: list[tuple[int, ...]] = []


def _move_by_power(bit: int) -> tuple[int, ...]:
    """Return the matrix that moves over ``2 ** bit`` zero bytes."""
    if not _powers:
        matrix = (_POLYNOMIAL, *(1 << row for row in range(31)))  # by one bit
        for _ in range(3):
            matrix = _squared(matrix)
        _powers.append(matrix)
    while len(_powers) <= bit:
        _powers.append(_squared(_powers[-1]))
    return _powers[bit]


def _squared(matrix: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(_times(matrix, row) for row in matrix)


def _times(matrix: tuple[int, ...], vector: int) -> int:
    result = 0
    for row in matrix:
        if not vector:
            break
        if vector & 1:
            result ^= row
        vector >>= 1
    return result
