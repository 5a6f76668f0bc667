"""What a job file or a joblist.toml requires of the version of jobtool that uses it.

An unknown key is kept and ignored. A key that must not be ignored goes with a word in
``requires``: a version that doesn't know the word leaves the job, or the whole joblist, as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType

from jobtool import __version__
from jobtool.errors import UnmetRequirementError

STEPS = "steps"
EXPORT = "export"
PACKAGE = "package"

#: The words that this version understands, each with its meaning.
UNDERSTOOD: Mapping[str, str] = MappingProxyType(
    {
        STEPS: "the job is a chain of steps: its lines 'steps' and 'step.NAME' count",
        EXPORT: "the job exports rows of a query: its lines 'export' and 'export.NAME' count",
        PACKAGE: "the job is a step of a package: its lines 'package' and 'package.NAME' count",
    }
)


def not_understood(words: Iterable[str]) -> tuple[str, ...]:
    """Return the words that this version doesn't know."""
    return tuple(word for word in words if word not in UNDERSTOOD)


def require_understood(words: Sequence[str]) -> None:
    """Raise ``UnmetRequirementError`` if this version doesn't know one of the words."""
    unknown = not_understood(words)
    if unknown:
        raise UnmetRequirementError(
            f"it requires {', '.join(map(repr, unknown))}; jobtool {__version__} knows "
            f"{', '.join(UNDERSTOOD)}. Upgrade jobtool."
        )
