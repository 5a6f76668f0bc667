"""A notice: what people are told of a joblist, as text and as JSON."""

from __future__ import annotations

from datetime import datetime
from typing import Any, ClassVar, Literal

import msgspec

from jobtool.events import Event
from jobtool.level import Level
from jobtool.redact import redact

#: Why people are told.
Kind = Literal["finish", "first-error", "stopped", "stall", "no-worker", "daily", "test"]


class Occasion(msgspec.Struct, frozen=True, kw_only=True):
    """Something to tell: ``key`` names it among the occasions of a joblist."""

    kind: Kind
    key: str
    title: str


class Notice(Event, frozen=True, kw_only=True):
    """What people are told of the joblist at ``path``.

    ``occasion`` is ``finish``, ``first-error``, ``stopped`` (a worker ended because of its
    environment), ``stall``, ``no-worker``, ``daily`` or ``test``. ``key`` names this occasion among
    those of the joblist: a notice that is sent twice has the same. ``time`` is in UTC, ``host``
    where it was written. ``todo`` to ``invalid`` count jobs, ``files_done`` and ``bytes_done`` what
    has arrived. ``causes`` are those of the errors, each with ``count`` and ``examples``, as
    ``summarise-jobs --json`` has them. ``job`` is the job that it is about, None for none.
    ``facts`` are the sentences of the body, ``next`` is the command to run next, empty for none.
    """

    kind: ClassVar[str] = "notice"
    level: ClassVar[Level] = Level.ALWAYS
    occasion: Kind
    key: str
    list_id: str
    path: str
    time: str
    host: str
    title: str
    facts: tuple[str, ...] = ()
    todo: int = 0
    ongoing: int = 0
    success: int = 0
    error: int = 0
    invalid: int = 0
    files_done: int = 0
    bytes_done: int = 0
    causes: tuple[dict[str, Any], ...] = ()
    job: str | None = None
    next: str = ""

    @property
    def moment(self) -> datetime:
        """The time."""
        return datetime.fromisoformat(self.time)

    @property
    def body(self) -> str:
        """The text below the title."""
        lines = [*self.facts]
        if self.next:
            lines += ["", "To run next:", f"  {self.next}"]
        return redact("\n".join(lines) + "\n")

    def text(self) -> str:
        """Return the title and the body."""
        return redact(f"{self.title}\n{self.body}".rstrip())

    def json(self) -> dict[str, Any]:
        """Return plain values, with ``text`` for programs that only show it."""
        values = super().json()
        for name in ("facts", "causes"):
            values[name] = list(values[name])
        return {**_redacted(values), "text": self.text()}


def _redacted(value: Any) -> Any:
    if isinstance(value, str):
        return redact(value)
    if isinstance(value, dict):
        return {key: _redacted(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_redacted(each) for each in value]
    return value
