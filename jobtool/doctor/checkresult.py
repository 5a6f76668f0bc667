"""The result of a check."""

from __future__ import annotations

from enum import StrEnum
from typing import ClassVar

import msgspec

from jobtool.events import Event
from jobtool.level import Level


class Verdict(StrEnum):
    """How a check ended. ``fail`` means that a transfer won't work, or not safely."""

    PASS = "pass"  # noqa: S105 - no password
    WARN = "warn"
    FAIL = "fail"


class CheckResult(Event, frozen=True, kw_only=True):
    """The result of one check.

    ``about`` is what was looked at (``joblist``, ``nodes``, ``destination``, ``source``,
    ``staging``, ``metrics``, ``notices`` or ``surroundings``), ``where`` its path or URL, empty if
    it has none. ``advice`` is empty if there is nothing to do.
    """

    kind: ClassVar[str] = "check"
    level: ClassVar[Level] = Level.ALWAYS
    about: str
    where: str = ""
    check: str
    verdict: Verdict
    found: str
    advice: str = ""

    def text(self) -> str:
        """Return the sentence."""
        return f"{self.about}: {self.check}: {self.verdict}: {self.found}. {self.advice}".rstrip()


class Subject(msgspec.Struct, frozen=True):
    """What several results are about: a word for it and its path or URL."""

    about: str
    where: str = ""

    def passed(self, check: str, found: str) -> CheckResult:
        """Return the result of a check that passed."""
        return self._result(check, Verdict.PASS, found, "")

    def warned(self, check: str, found: str, advice: str) -> CheckResult:
        """Return a warning: a transfer will work, but not as well or as safely as it could."""
        return self._result(check, Verdict.WARN, found, advice)

    def failed(self, check: str, found: str, advice: str) -> CheckResult:
        """Return a failure: a transfer won't work, or not safely."""
        return self._result(check, Verdict.FAIL, found, advice)

    def _result(self, check: str, verdict: Verdict, found: str, advice: str) -> CheckResult:
        return CheckResult(
            about=self.about,
            where=self.where,
            check=check,
            verdict=verdict,
            found=found,
            advice=advice,
        )


def in_seconds(seconds: float) -> str:
    """Return a measured time as text: ``0.004 s``, ``3.2 s``, ``25 min``, ``2 h 10 min``."""
    if seconds < 0.1:
        return f"{max(seconds, 0.001):.3f} s"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h {minutes % 60} min"


def in_bytes(size_bytes: int) -> str:
    """Return a size as text in binary units: ``61.2 GiB``."""
    size = float(size_bytes)
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB"):
        if size < 1024:
            return f"{size:.0f} bytes" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} PiB"


def named(names: list[str], *, most: int = 4) -> str:
    """Return the first ``most`` names, joined."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
