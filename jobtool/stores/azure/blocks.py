"""Blocks: the IDs by which an upload's blocks are told from others, and which bytes they hold.

Azure keeps blocks that were sent and not committed for a week. It lists their IDs and sizes, and no
digests. So the MD5 that the service checked when it took a block is a part of the block's ID. All
IDs of a blob must have the same length, at most 64 bytes. Source: Microsoft, "Put Block".
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from collections.abc import Iterable

import msgspec

from jobtool.stores.store import Part

#: Source: Microsoft, "Scalability and performance targets for Blob storage".
MAX_BLOCKS = 50_000

_OWNER_CHARACTERS = 8
_TOKEN = re.compile(r"[0-9a-f]{20}")
_ID = re.compile(r"jt1-([0-9a-f]{20})([0-9]{5})([0-9a-f]{13})([A-Za-z0-9_-]{22})")

#: The number in the ID of the block that marks an upload as dropped.
_DROPPED = 0


class Block(msgspec.Struct, frozen=True):
    """A block of an upload: its part's number, when it was sent, the MD5 of its bytes, its size."""

    token: str
    number: int
    sent_us: int
    md5: str
    size: int
    id: str


def new_token(owner: str) -> str:
    """Return an upload's token: 8 characters of its owner, 12 random ones."""
    return mark_of(owner) + secrets.token_hex(6)


def mark_of(owner: str) -> str:
    """Return the beginning of the tokens of an owner's uploads."""
    digest = hashlib.blake2b(owner.encode("utf-8", "surrogateescape"), digest_size=4)
    return digest.hexdigest()


def is_token(token: str) -> bool:
    """Return True for what ``new_token`` returns."""
    return _TOKEN.fullmatch(token) is not None


def block_id(token: str, number: int, md5: str) -> str:
    """Return the ID of a block: 64 characters, its own at each call.

    A part may be sent twice. The block that was sent last counts, so the ID has the time.
    """
    sent_us = time.time_ns() // 1000
    digest = base64.urlsafe_b64encode(bytes.fromhex(md5)).decode().rstrip("=")
    return f"jt1-{token}{number:05}{sent_us:013x}{digest}"


def dropped_id(token: str) -> str:
    """Return the ID of the block that marks an upload as dropped."""
    return block_id(token, _DROPPED, "0" * 32)


def block_of(found_id: str, size: int) -> Block | None:
    """Return the block of an ID; None if another program sent it."""
    match = _ID.fullmatch(found_id)
    if match is None:
        return None
    token, number, sent_us, digest = match.groups()
    md5 = base64.urlsafe_b64decode(digest + "==").hex()
    return Block(token, int(number), int(sent_us, 16), md5, size, found_id)


def uploads_in(found: Iterable[tuple[str, int]]) -> dict[str, dict[int, Block]]:
    """Return the blocks of each upload among IDs and sizes, by token and by number.

    Of a part that was sent again, the last block is returned. Dropped uploads are left out.
    """
    uploads: dict[str, dict[int, Block]] = {}
    dropped = set()
    for found_id, size in found:
        block = block_of(found_id, size)
        if block is None:
            continue
        if block.number == _DROPPED:
            dropped.add(block.token)
            continue
        parts = uploads.setdefault(block.token, {})
        known = parts.get(block.number)
        if known is None or known.sent_us < block.sent_us:
            parts[block.number] = block
    return {token: parts for token, parts in uploads.items() if token not in dropped}


def is_of(part: Part, block: Block | None) -> bool:
    """Return True if a block holds a part as it was sent."""
    return block is not None and (part.etag, part.size, part.md5) == (
        block.id,
        block.size,
        block.md5,
    )
