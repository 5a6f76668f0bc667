"""Layouts: how a source tree becomes jobs. A layout is data, from a preset or a TOML file."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

import msgspec

from jobtool import typed
from jobtool.errors import LayoutError
from jobtool.jobs.safe_read import UnfitFileError, read_bounded
from jobtool.jobs.settings import MAX_BYTES
from jobtool.layouts.pattern import Pattern
from jobtool.layouts.template import Template
from jobtool.names import quote
from jobtool.suggest import closest, did_you_mean, misfit

#: Layouts that are data; ``manifest`` reads a table instead, ``auto`` looks and picks.
PRESETS = ("plates", "partitions", "tree")
MANIFEST = "manifest"
AUTO = "auto"

#: Not a layout of this module: items become packages (``jobtool.bundling``).
PACKAGES = "packages"

_BUILT_IN_FIELDS = frozenset({"destination", "uuid"})


class Layout(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The contents of a ``[layout]`` table.

    ``pattern`` finds the folders (with ``files_match`` files too) that are jobs. Each must hold
    what ``require`` names; otherwise it isn't finished and is left out. ``name`` and
    ``destination`` are templates. With ``files`` a job copies only these files of its folder, each
    to the place that its template gives. Those in ``optional`` may be missing. ``values`` are
    defaults for ``--set``.
    """

    pattern: str
    name: str
    destination: str | None = None
    require: list[str] = []
    files: dict[str, str] = {}
    optional: list[str] = []
    files_match: bool = False
    values: dict[str, str] = {}

    def check(self) -> None:
        """Raise ``LayoutError`` unless all parts of the layout fit together."""
        fields = set(Pattern(self.pattern).fields)
        for template in self.templates():
            unknown = template.fields - fields - _BUILT_IN_FIELDS
            if unknown and template.text in (self.name, *self.require):
                raise LayoutError(
                    f"template {template.text!r}: {{{min(unknown)}}} isn't a field of the pattern, "
                    f"which has {', '.join(sorted(fields)) or 'none'}."
                    f"{did_you_mean(min(unknown), fields)}"
                )
        if (self.destination is None) == (not self.files):
            raise LayoutError(
                "a layout needs either 'destination', for whole trees, or [layout.files]"
            )
        for name in self.optional:
            if name not in self.files:
                raise LayoutError(
                    f"optional file {name!r} isn't one of [layout.files]. Correct or remove it."
                )

    def templates(self) -> Iterator[Template]:
        """Yield every template of the layout."""
        yield Template(self.name)
        if self.destination is not None:
            yield Template(self.destination)
        for text in (*self.require, *self.files.values()):
            yield Template(text)

    def settable(self) -> frozenset[str]:
        """Return the names of the values that its templates use and the tree doesn't give."""
        used = {field for template in self.templates() for field in template.fields}
        return frozenset(used - set(Pattern(self.pattern).fields) - _BUILT_IN_FIELDS) | frozenset(
            self.values
        )

    def table(self) -> dict[str, Any]:
        """Return the table for joblist.toml."""
        table: dict[str, Any] = msgspec.to_builtins(self)
        return {key: value for key, value in table.items() if value not in (None, [], {}, False)}


def load_layout(name: str) -> tuple[str, Layout]:
    """Return a preset or the layout of a TOML file, with its short name.

    Raises ``LayoutError`` that names the layout and the error in it.
    """
    if name in PRESETS:
        text = (resources.files("jobtool.layouts") / "presets" / f"{name}.toml").read_text("utf-8")
        return name, read_layout(text, shown=name)
    if not name.endswith(".toml"):
        if name == PACKAGES:
            raise LayoutError(
                "the layout 'packages' has arguments of its own: call jobtool.generate_packages"
            )
        known = (AUTO, *PRESETS, MANIFEST, PACKAGES)
        raise LayoutError(
            f"unknown layout {quote(name)}: expected one of {', '.join(known)}, or a file's name "
            f"that ends in .toml.{did_you_mean(name, known)}"
        )
    try:
        text = read_bounded(name, MAX_BYTES).decode()
    except UnfitFileError as error:
        raise LayoutError(f"can't read the layout {quote(name)}: {error}") from None
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it isn't UTF-8"
        raise LayoutError(f"can't read the layout {quote(name)}: {reason}. Correct it.") from None
    return os.path.basename(name), read_layout(text, shown=name)


def read_layout(text: str, *, shown: str) -> Layout:
    """Return the layout of a TOML document; raise ``LayoutError``, which calls it ``shown``."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise LayoutError(f"layout {quote(shown)} isn't valid TOML: {error}. Correct it.") from None
    except RecursionError:
        raise LayoutError(f"layout {quote(shown)}: its tables are nested too deep") from None
    table = tables.get("layout")
    if not isinstance(table, dict):
        found = f"found {', '.join(tables)}" if tables else "found nothing"
        meant = closest("layout", tables)
        hint = f" Write [layout] instead of [{meant}]." if meant else ""
        raise LayoutError(f"layout {quote(shown)}: expected a table [layout]; {found}.{hint}")
    return layout_of_table(table, shown=shown)


def layout_of_table(table: Mapping[str, Any], *, shown: str) -> Layout:
    """Return the layout of a ``[layout]`` table; raise ``LayoutError``."""
    try:
        layout = typed.convert(dict(table), Layout)
        layout.check()
    except msgspec.ValidationError as error:
        raise LayoutError(misfit(error, Layout, where=f"layout {quote(shown)}")) from None
    except LayoutError as error:
        raise LayoutError(f"layout {quote(shown)}: {error}") from None
    return layout
