"""Changing ``[transfer]`` of a joblist.toml, whose other text stays as it is."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from jobtool import typed
from jobtool.errors import JoblistError, UsageError, reason_of
from jobtool.jobs.editing import edit_file
from jobtool.jobs.safe_read import UnfitFileError
from jobtool.jobs.settings import FILENAME, TransferSettings, decode
from jobtool.jobs.trust import read_trusted
from jobtool.names import quote
from jobtool.suggest import misfit, unknown_key
from jobtool.units import parse_size

if TYPE_CHECKING:
    from jobtool.jobs.joblist import JobList

TABLE = "transfer"

#: What running workers read again within seconds. They take other keys when they start.
LIVE_KEYS = ("bandwidth", "max_requests_per_second")

_SIZES = ("part_size_bytes",)
_LISTS = ("preserve", "methods")
_LOCK = "settings.lock"


def checked(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of keys of ``[transfer]``, which may be given as text.

    None and an empty text stand for the default. Raises ``UsageError``, which names the key.
    """
    known = TransferSettings.__struct_fields__
    found: dict[str, Any] = {}
    for key, value in given.items():
        if key not in known:
            raise UsageError(unknown_key(key, known, what="a key"))
        found[key] = None if value in (None, "") else _value(key, value)
    return found


def _value(key: str, value: Any) -> Any:
    text = value if isinstance(value, str) else None
    try:
        if text is not None and key in _SIZES:
            value = parse_size(text)
        elif text is not None and key in _LISTS:
            value = [word.strip() for word in text.split(",")]
        table = typed.convert({key: value}, TransferSettings, strict=False)
    except msgspec.ValidationError as error:
        reason = misfit(error, TransferSettings, where="").lstrip(",: ")
        reason = reason.removesuffix("; found text")
        shown = "" if "; found " in reason else f"; found {value!r}"
        raise UsageError(f"{reason}{shown}") from None
    except ValueError as error:
        raise UsageError(f"{key}: {error}") from None
    decided = getattr(table, key)
    return list(decided) if isinstance(decided, tuple) else decided


def edit_transfer(
    joblist: JobList, values: Mapping[str, Any], *, dry_run: bool = False
) -> tuple[TransferSettings, TransferSettings]:
    """Set keys of ``[transfer]``, remove those that are None; return the table before and after.

    Comments, order and spaces stay. The new text is read before it is written.

    Raises ``JoblistError`` if the file can't be read, isn't the user's own, or would be invalid,
    and ``JoblistUnavailableError`` if it can't be written.
    """
    named = os.path.join(joblist.path, FILENAME)
    path = os.path.realpath(named)  # a link stays one
    outcome: list[TransferSettings] = []

    def change(data: bytes | None) -> bytes | None:
        if data is None:
            raise JoblistError(f"expected {quote(named)}; found nothing")
        text = data.decode()
        made = _edited(text, values, path=named)
        before, after = decode(text, path=named), decode(made, path=named)
        if (found := msgspec.structs.replace(after, transfer=before.transfer)) != before:
            raise JoblistError(f"{quote(named)}: can't change [transfer] alone: {found.id}")
        outcome[:] = [before.transfer, after.transfer]
        return None if made == text else made.encode()

    def read() -> bytes | None:
        try:
            found, _ = read_trusted(path)
            found.decode()
        except FileNotFoundError:
            return None
        except (OSError, UnicodeDecodeError, UnfitFileError) as error:
            raise JoblistError(f"can't read {quote(named)}: {reason_of(error)}") from None
        return found

    if dry_run:
        change(read())
    else:
        _require_own(path)
        edit_file(
            path,
            lock_path=os.path.join(joblist.claims_path, _LOCK),
            read=read,
            change=change,
            mode_of=path,
        )
    return outcome[0], outcome[1]


def _require_own(path: str) -> None:
    """Refuse another user's file: it would become ours, and be trusted by others no more."""
    try:
        owner = os.stat(path).st_uid
    except OSError as error:
        raise JoblistError(f"can't read {quote(path)}: {reason_of(error)}") from None
    if owner != os.geteuid():
        raise JoblistError(
            f"{quote(path)}: expected a file of yours; found one of user {owner}. Whose it is "
            "decides what it may name. Ask its owner to run this, or change it with an editor."
        )


def _edited(text: str, values: Mapping[str, Any], *, path: str) -> str:
    import tomlkit
    import tomlkit.exceptions

    decode(text, path=path)  # its messages are jobtool's own
    try:
        document = tomlkit.parse(text)
    except tomlkit.exceptions.ParseError as error:  # it is stricter than tomllib here and there
        raise JoblistError(
            f"can't change {quote(path)} and keep its text: {error}. Change it with an editor."
        ) from None
    had = TABLE in tomllib.loads(text)
    if not had and any(value is not None for value in values.values()):
        document.append(TABLE, tomlkit.table())
    table: Any = document.get(TABLE, {})
    for key, value in values.items():
        if value is None:
            table.pop(key, None)
        elif key not in table or table[key] != value:
            table[key] = value
    return tomlkit.dumps(document)
