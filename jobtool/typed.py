"""JSON and tables as values of a type: msgspec's functions, made safe for threads.

msgspec 0.22 describes a struct to itself when the struct is first decoded, and publishes the
description before its fields are in it. A second thread that decodes the same struct meanwhile
reads null pointers, and the process ends by SIGSEGV (``StructInfo_Convert_lock_held`` in its
``_core.c``). Here a lock is held until a type is described. ruff refuses msgspec's own functions
everywhere else.
"""

from __future__ import annotations

import threading
from typing import Any, TypeVar, overload

import msgspec

T = TypeVar("T")
Json = bytes | bytearray | memoryview | str

_lock = threading.Lock()
_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}


@overload
def decoder_of(kind: type[T]) -> msgspec.json.Decoder[T]: ...


@overload
def decoder_of(kind: Any) -> msgspec.json.Decoder[Any]: ...


def decoder_of(kind: Any) -> msgspec.json.Decoder[Any]:
    """Return the decoder of JSON into a type or a union of types."""
    found = _decoders.get(kind)
    if found is None:
        with _lock:
            found = _decoders.get(kind)
            if found is None:
                found = _decoders[kind] = msgspec.json.Decoder(kind)
    return found


@overload
def decode(data: Json, kind: type[T]) -> T: ...


@overload
def decode(data: Json, kind: Any = Any) -> Any: ...


def decode(data: Json, kind: Any = Any) -> Any:
    """Return what a JSON document says, as a value of a type or a union of types.

    Raises ``msgspec.DecodeError`` if it isn't JSON, or not of that type.
    """
    return decoder_of(kind).decode(data)


@overload
def convert(value: Any, kind: type[T], *, strict: bool = True) -> T: ...


@overload
def convert(value: Any, kind: Any, *, strict: bool = True) -> Any: ...


def convert(value: Any, kind: Any, *, strict: bool = True) -> Any:
    """Return plain values, a table of TOML for example, as a value of a type or a union of types.

    Raises ``msgspec.ValidationError`` if they don't fit. With ``strict=False`` text is read as the
    number that it spells.
    """
    decoder_of(kind)
    return msgspec.convert(value, kind, strict=strict)
