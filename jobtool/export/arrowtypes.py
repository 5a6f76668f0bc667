"""Arrow's types: their names as jobtool writes them, arrays without encodings, sizes."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa


def values_type(kind: Any) -> Any:
    """Return the type of the values of a type: without dictionary, run ends and extension."""
    import pyarrow as pa
    from pyarrow import types

    while True:
        if isinstance(kind, pa.BaseExtensionType):
            kind = kind.storage_type
        elif types.is_dictionary(kind) or types.is_run_end_encoded(kind):
            kind = kind.value_type
        else:
            return kind


def type_words(kind: Any) -> Any:
    """Return the name of a type as ``jobtool.export.rowdigest`` defines it, for JSON.

    Raises ``TypeError``, with Arrow's own name of the type, if it has none: unions, and run ends
    within lists and structs, which Arrow can't decode under nulls.
    """
    from pyarrow import types

    kind = values_type(kind)
    name = _names().get(kind)
    if name is not None:
        return name
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
        return ["fixed_size_list", kind.list_size, _inner_words(kind.value_type)]
    if types.is_map(kind):
        return ["map", _inner_words(kind.key_type), _inner_words(kind.item_type)]
    if types.is_struct(kind):
        return ["struct", [[field.name, _inner_words(field.type)] for field in kind]]
    for name in ("list", "large_list", "list_view", "large_list_view"):
        if getattr(types, f"is_{name}")(kind):
            return [name, _inner_words(kind.value_type)]
    raise TypeError(str(kind))


def _inner_words(kind: Any) -> Any:
    from pyarrow import types

    if types.is_run_end_encoded(kind):
        raise TypeError(str(kind))
    return type_words(kind)


def plain(array: Any) -> Any:
    """Return an array without dictionary, run ends and extension.

    Texts in views become large texts, and maps lists of structs of a key and a value.
    """
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    while True:
        kind = array.type
        if isinstance(kind, pa.BaseExtensionType):
            array = array.storage
        elif types.is_dictionary(kind):
            array = plain(array.dictionary).take(array.indices)
        elif types.is_run_end_encoded(kind):
            array = pc.run_end_decode(array)
        elif types.is_string_view(kind):
            return array.cast(pa.large_string())
        elif types.is_binary_view(kind):
            return array.cast(pa.large_binary())
        elif types.is_map(kind):
            entries = pa.struct([kind.key_field, kind.item_field])
            return array.cast(pa.list_(pa.field("entries", entries, nullable=False)))
        else:
            return array


def decoded_type(kind: Any) -> Any:
    """Return a type without dictionaries, at any depth, and without run ends around it.

    Arrow can't decode run ends within lists and structs.
    """
    from pyarrow import types

    while types.is_run_end_encoded(kind):
        kind = kind.value_type
    return _without_dictionaries(kind)


def _without_dictionaries(kind: Any) -> Any:
    import pyarrow as pa
    from pyarrow import types

    if types.is_dictionary(kind):
        return _without_dictionaries(kind.value_type)
    if types.is_struct(kind):
        return pa.struct([field.with_type(_without_dictionaries(field.type)) for field in kind])
    if types.is_map(kind):
        key, item = (
            field.with_type(_without_dictionaries(field.type))
            for field in (kind.key_field, kind.item_field)
        )
        return pa.map_(key, item, kind.keys_sorted)
    for name in ("list", "large_list", "list_view", "large_list_view"):
        if getattr(types, f"is_{name}")(kind):
            element = kind.value_field.with_type(_without_dictionaries(kind.value_type))
            return getattr(pa, "list_" if name == "list" else name)(element)
    if types.is_fixed_size_list(kind):
        element = kind.value_field.with_type(_without_dictionaries(kind.value_type))
        return pa.list_(element, kind.list_size)
    return kind


def decoded(array: Any, kind: Any) -> Any:
    """Return an array as one of ``kind``, which is the ``decoded_type`` of its type."""
    import pyarrow as pa
    import pyarrow.compute as pc
    from pyarrow import types

    if array.type == kind:
        return array
    if types.is_run_end_encoded(array.type):
        return decoded(pc.run_end_decode(array), kind)
    if not types.is_dictionary(array.type):
        return array.cast(kind)
    values = decoded(array.dictionary, kind)
    if types.is_string_view(kind) or types.is_binary_view(kind):
        large = pa.large_string() if types.is_string_view(kind) else pa.large_binary()
        return values.cast(large).take(array.indices).cast(kind)
    return values.take(array.indices)


def size_bytes(batch: pa.RecordBatch) -> int:
    """Return about how many bytes the values of a batch have, the same for the same rows.

    Unlike ``batch.nbytes`` it doesn't depend on how the batch was cut from others, on what lies
    under nulls, and on bitmaps that may be left out.
    """
    return sum(_size_bytes(array) for array in batch.columns)


def _size_bytes(array: Any) -> int:
    import pyarrow.compute as pc
    from pyarrow import types

    if types.is_dictionary(array.type):
        return len(array) * (int(array.type.index_type.bit_width) // 8)
    array = plain(array)
    kind = array.type
    if types.is_null(kind):
        return 0
    if types.is_struct(kind):
        return sum(map(_size_bytes, array.flatten()))
    if hasattr(array, "flatten"):
        return 4 * len(array) + _size_bytes(array.flatten())
    if _names().get(kind) in _TEXTS:
        return 4 * len(array) + int(pc.sum(pc.binary_length(array)).as_py() or 0)
    return -(-len(array) * int(kind.bit_width) // 8)


_TEXTS = {"utf8", "large_utf8", "binary", "large_binary"}


@functools.cache
def _names() -> dict[Any, str]:
    """Return the names of the types without parameters."""
    import pyarrow as pa

    return {
        pa.null(): "null",
        pa.bool_(): "bool",
        **{make(): make.__name__ for make in (pa.int8, pa.int16, pa.int32, pa.int64)},
        **{make(): make.__name__ for make in (pa.uint8, pa.uint16, pa.uint32, pa.uint64)},
        **{make(): make.__name__ for make in (pa.float16, pa.float32, pa.float64)},
        pa.string(): "utf8",
        pa.large_string(): "large_utf8",
        pa.string_view(): "utf8_view",
        pa.binary(): "binary",
        pa.large_binary(): "large_binary",
        pa.binary_view(): "binary_view",
        pa.date32(): "date32",
        pa.date64(): "date64",
        pa.month_day_nano_interval(): "interval_month_day_nano",
    }
