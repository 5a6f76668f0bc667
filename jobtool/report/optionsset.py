"""What applies of ``[transfer]``, and what ``jobtool set`` has changed, as an event."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import msgspec

from jobtool.events import Event
from jobtool.names import shell_word
from jobtool.report.steered import jobs_text, named


class Option(msgspec.Struct, frozen=True, kw_only=True):
    """A key of ``[transfer]``: its value, and whether that is the default.

    ``was`` is its value before if it was ``changed``. ``live`` says that running workers take it up
    within seconds; others are taken up by workers that start later.
    """

    key: str
    value: Any
    is_default: bool
    live: bool
    changed: bool = False
    was: Any = None


class OptionsSet(Event, frozen=True, kw_only=True):
    """Options were set in the joblist.toml at ``path``, or would be, in a dry run.

    ``options`` are all keys of ``[transfer]``. ``workers`` counts the workers that seem to be
    running. ``jobs`` are the names of those that were given ``priority``, ``left_alone`` says of
    others by their names why they weren't.
    """

    kind: ClassVar[str] = "options"
    path: str
    options: tuple[Option, ...] = ()
    jobs: tuple[str, ...] = ()
    priority: int | None = None
    left_alone: Mapping[str, str] = {}
    workers: int = 0
    dry_run: bool = False

    def text(self) -> str:
        """Return lines: what was changed and when it applies; all options if none was."""
        return "\n".join(self._lines())

    def json(self) -> dict[str, Any]:
        """Return plain values."""
        return {**super().json(), "options": [msgspec.to_builtins(one) for one in self.options]}

    @property
    def exit_code(self) -> int:
        """1 if a job was left alone, else 0."""
        return 1 if self.left_alone else 0

    @property
    def changed(self) -> tuple[Option, ...]:
        """The options that were changed."""
        return tuple(one for one in self.options if one.changed)

    def _lines(self) -> Iterator[str]:
        if self.priority is not None:
            yield from self._of_priority()
            return
        changed = self.changed
        for one in changed:
            was = f", was {_text(one.was)}" if one.was is not None else ""
            default = " (the default)" if one.is_default else ""
            would = "Would set " if self.dry_run else "Set "
            yield f"{would}{one.key} to {_text(one.value)}{default}{was}: {self._when(one)}."
        if not changed:
            yield f"[transfer] of {shell_word(self.path)}:"
            width = max((len(one.key) for one in self.options), default=0)
            for one in self.options:
                default = "  (default)" if one.is_default else ""
                live = "  (changes apply within seconds)" if one.live else ""
                yield f"  {one.key:{width}} = {_text(one.value)}{default}{live}"
            yield "An option of a worker goes before its value here."

    def _when(self, option: Option) -> str:
        if not option.live:
            running = " Those that are running keep theirs" if self.workers else ""
            return f"for workers that start from now on.{running}".rstrip(".")
        if not self.workers:
            return "for all workers; none is running"
        who = "the worker that is" if self.workers == 1 else f"the {self.workers} that are"
        flag = option.key.replace("_", "-")
        return f"{who} running will notice within seconds, unless started with --{flag}"

    def _of_priority(self) -> Iterator[str]:
        if self.jobs:
            would = "Would give" if self.dry_run else "Gave"
            yield (
                f"{would} priority {self.priority} to {named(self.jobs)}. Workers take jobs of a "
                "higher priority first, after those that they have."
            )
        reasons: dict[str, int] = {}
        for reason in self.left_alone.values():
            reasons[reason] = reasons.get(reason, 0) + 1
        for reason, count in reasons.items():
            yield f"{jobs_text(count)} left alone: {reason}."


def _text(value: Any) -> str:
    """Return a value as TOML has it."""
    return json.dumps(value, ensure_ascii=False)
