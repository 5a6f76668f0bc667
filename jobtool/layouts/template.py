"""Templates: text with ``{field}`` in it. Layouts use them for names and destinations."""

from __future__ import annotations

import string
from collections.abc import Mapping
from urllib.parse import unquote as percent_decode

from jobtool.errors import LayoutError

_KEPT = frozenset("!-_.()")
_MAX_SAFE_BYTES = 200


class Template:
    """Text with ``{field}``, or ``{field:safe}`` for the field's value passed through ``safe``.

    Raises ``LayoutError`` if the text isn't a template.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        try:
            self._pieces = [
                (literal, field, option or "")
                for literal, field, option, _ in string.Formatter().parse(text)
            ]
        except ValueError as error:
            raise LayoutError(f"template {text!r}: {error}") from None
        for _, field, option in self._pieces:
            if field is not None and not field.isidentifier():
                raise LayoutError(f"template {text!r}: expected a field's name; found {field!r}")
            if option not in ("", "safe"):
                raise LayoutError(f"template {text!r}: expected {{field}} or {{field:safe}}")

    @property
    def fields(self) -> frozenset[str]:
        """The names of its fields."""
        return frozenset(field for _, field, _ in self._pieces if field is not None)

    @property
    def leading_field(self) -> str | None:
        """The field with which the text begins, if any."""
        if not self._pieces:
            return None
        literal, field, _ = self._pieces[0]
        return None if literal else field

    @property
    def safe_fields(self) -> frozenset[str]:
        """The names of the fields that are passed through ``safe``."""
        return frozenset(field for _, field, option in self._pieces if field and option)

    def fill(self, values: Mapping[str, str]) -> str:
        """Return the text with its fields' values; raise ``LayoutError`` if one is missing."""
        filled: list[str] = []
        for literal, field, option in self._pieces:
            filled.append(literal)
            if field is None:
                continue
            if field not in values:
                if field == "destination":
                    how = "with --destination URL"
                elif field == "uuid":
                    how = "(it is made only for destinations of files)"
                else:
                    how = f"with --set {field}=VALUE"
                raise LayoutError(
                    f"template {self.text!r}: {{{field}}} has no value. Give it {how}."
                )
            filled.append(safe(values[field]) if option else values[field])
        return "".join(filled)


def safe(value: str) -> str:
    """Return ``value`` percent-decoded, with ``_`` for what S3 or a filesystem may not allow.

    Letters and digits of any script and ``! - _ . ( )`` stay. Never empty, ``.`` or ``..``.
    """
    decoded = percent_decode(value, errors="surrogateescape")
    kept = "".join(c if c.isalnum() or c in _KEPT else "_" for c in decoded)
    kept = kept.encode()[:_MAX_SAFE_BYTES].decode(errors="ignore")
    return "_" * max(len(kept), 1) if kept.strip(".") == "" else kept
