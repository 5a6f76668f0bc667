"""The digest of rows, by its definition: row by row, without Arrow's arrays."""

from __future__ import annotations

import decimal
import hashlib
import json
import math
import struct
from typing import Any

import pyarrow as pa
from pyarrow import types

_FORMS = {"int8": "b", "int16": "h", "int32": "i", "int64": "q"}
_FORMS |= {f"u{name}": form.upper() for name, form in _FORMS.items()}
_TEXTS = {
    pa.string(): ("utf8", "<i"),
    pa.large_string(): ("large_utf8", "<q"),
    pa.string_view(): ("utf8_view", "<q"),
    pa.binary(): ("binary", "<i"),
    pa.large_binary(): ("large_binary", "<q"),
    pa.binary_view(): ("binary_view", "<q"),
}


def digest_of(columns: list[tuple[str, Any, list[Any]]]) -> str:
    """Return the digest of columns: names, types, values."""
    described = [[name, _words(kind)] for name, kind, _ in columns]
    data = json.dumps(described, separators=(",", ":")).encode() + b"\n"
    data += struct.pack("<q", len(columns[0][2]) if columns else 0)
    data += b"".join(_column(kind, values) for _, kind, values in columns)
    return "jobtool-rows-1:" + hashlib.sha256(data).hexdigest()


def _words(kind: Any) -> Any:
    if kind in _TEXTS:
        return _TEXTS[kind][0]
    if types.is_decimal(kind):
        return [f"decimal{kind.bit_width}", kind.precision, kind.scale]
    if types.is_time(kind):
        return [f"time{kind.bit_width}", kind.unit]
    if types.is_timestamp(kind):
        return ["timestamp", kind.unit, kind.tz]
    if types.is_duration(kind):
        return ["duration", kind.unit]
    if types.is_fixed_size_binary(kind):
        return ["fixed_size_binary", kind.byte_width]
    if types.is_fixed_size_list(kind):
        return ["fixed_size_list", kind.list_size, _words(kind.value_type)]
    if types.is_map(kind):
        return ["map", _words(kind.key_type), _words(kind.item_type)]
    if types.is_struct(kind):
        return ["struct", [[field.name, _words(field.type)] for field in kind]]
    for name in ("list", "large_list", "list_view", "large_list_view"):
        if getattr(types, f"is_{name}")(kind):
            return [name, _words(kind.value_type)]
    names = {"halffloat": "float16", "float": "float32", "double": "float64"}
    names |= {"date32[day]": "date32", "date64[ms]": "date64"}
    names |= {"month_day_nano_interval": "interval_month_day_nano"}
    return names.get(str(kind), str(kind))


def _column(kind: Any, values: list[Any]) -> bytes:
    nulls = [place for place, value in enumerate(values) if value is None]
    data = struct.pack("<q", len(values)) + _hash(struct.pack("<q", place) for place in nulls)
    if types.is_struct(kind):
        for field in kind:
            fields = [None if value is None else value[field.name] for value in values]
            data += _column(field.type, fields)
        return data
    values = [value for value in values if value is not None]
    if types.is_null(kind):
        return data
    if kind in _TEXTS:
        raw = [value.encode() if isinstance(value, str) else value for value in values]
        form = _TEXTS[kind][1]
        return data + _hash(struct.pack(form, len(value)) for value in raw) + _hash(raw)
    if types.is_fixed_size_list(kind):
        return data + _column(kind.value_type, [one for value in values for one in value])
    if types.is_nested(kind):
        form = "<q" if types.is_large_list(kind) or types.is_large_list_view(kind) else "<i"
        data += _hash(struct.pack(form, len(value)) for value in values)
        elements = [one for value in values for one in value]
        if types.is_map(kind):
            entry = pa.struct([("key", kind.key_type), ("value", kind.item_type)])
            return data + _column(entry, [{"key": key, "value": one} for key, one in elements])
        return data + _column(kind.value_type, elements)
    return data + _hash(_fixed(kind, value) for value in values)


def _fixed(kind: Any, value: Any) -> bytes:
    if types.is_boolean(kind):
        return b"\1" if value else b"\0"
    if types.is_floating(kind):
        wide = types.is_float64(kind)
        if math.isnan(value):
            return struct.pack("<Q", 0x7FF8 << 48) if wide else struct.pack("<I", 0x7FC0 << 16)
        return struct.pack("<d" if wide else "<f", value)
    if types.is_decimal(kind):
        unscaled = int(value.scaleb(kind.scale, decimal.Context(prec=80)))
        return unscaled.to_bytes(kind.bit_width // 8, "little", signed=True)
    if types.is_interval(kind):
        return struct.pack("<iiq", *value)
    if types.is_fixed_size_binary(kind):
        return bytes(value)
    size = {"date32[day]": "i"}.get(str(kind), "i" if types.is_time32(kind) else "q")
    return struct.pack("<" + _FORMS.get(str(kind), size), value)


def _hash(parts: Any) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()
