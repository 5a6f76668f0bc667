"""What people have asked a joblist's workers to do, as events."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal

from jobtool.events import Event
from jobtool.names import quote, shell_word

#: How many jobs are named.
_NAMED = 3

Action = Literal["pause", "resume", "stop"]


class Steered(Event, frozen=True, kw_only=True):
    """A joblist's workers are asked to pause, to go on, or to stop; or would be, in a dry run.

    ``jobs`` are the names of the jobs that this is about, ``whole`` says that it is about the whole
    joblist at ``path``. ``ended`` are those of the jobs that are in error now, since no worker held
    them. ``left_alone`` counts the chosen jobs that are done or in error. ``changed`` is False if
    nothing had to be changed: it was so ``since``, in UTC, asked by the user ``by``. ``workers``
    counts the workers that seem to be running. ``still_paused`` says that the jobs don't go on,
    since the whole joblist is paused.
    """

    kind: ClassVar[str] = "steered"
    action: Action
    path: str
    whole: bool
    jobs: tuple[str, ...] = ()
    ended: tuple[str, ...] = ()
    left_alone: int = 0
    changed: bool = True
    by: str | None = None
    since: str | None = None
    workers: int = 0
    still_paused: bool = False
    dry_run: bool = False

    def text(self) -> str:
        """Return the sentences; the last says what happens next, or what to do."""
        done = {"pause": self._paused, "resume": self._resumed, "stop": self._stopped}[self.action]
        alone = ""
        if self.left_alone and self.action == "stop":
            alone = f" {jobs_text(self.left_alone)} left alone: done, or in error already."
        return f"{done()}{alone}"

    @property
    def _would(self) -> str:
        return "Would " if self.dry_run else ""

    @property
    def _what(self) -> str:
        return "the joblist" if self.whole else named(self.jobs)

    @property
    def _running(self) -> str:
        return f"{self.workers} {'worker is' if self.workers == 1 else 'workers are'} running"

    @property
    def _each(self) -> str:
        return "it" if self.workers == 1 else "each"

    def _command(self, name: str) -> str:
        return f"jobtool {name} {shell_word(self.path)}"

    @property
    def _resume(self) -> str:
        """The command that ends just this pause; that ends all pauses where it has many names."""
        jobs = () if self.whole or len(self.jobs) > _NAMED else self.jobs
        return self._command("resume") + "".join(f" --job {shell_word(job)}" for job in jobs)

    def _paused(self) -> str:
        if not self.changed:
            since = f", by {quote(self.by)} since {self.since}" if self.by and self.since else ""
            what = "The joblist is" if self.whole else f"{_capital(self._what)}: all"
            return f"{what} paused already{since}. To go on: {self._resume}"
        begin = f"{self._would or 'Paused '}{'pause ' if self.dry_run else ''}{self._what}. "
        held = "its job" if self.whole else "such a job"
        if not self.workers:
            next_ = "No worker is running; those that start "
            next_ += "will wait." if self.whole else "leave these jobs alone."
        else:
            next_ = (
                f"{self._running}: within seconds {self._each} finishes the files and parts in "
                f"progress and hands {held} back{', and waits' if self.whole else ''}."
            )
        return f"{begin}{next_} To go on: {self._resume}"

    def _resumed(self) -> str:
        if not self.changed:
            if self.whole:
                return "Nothing of the joblist was paused."
            were = "wasn't" if len(self.jobs) == 1 else "weren't"
            rest = ""
            if self.still_paused:
                rest = f" The joblist as a whole is: {self._command('resume')}"
            return f"{_capital(self._what)} {were} paused by name.{rest}"
        begin = f"{self._would or 'Resumed '}{'resume ' if self.dry_run else ''}{self._what}. "
        if self.still_paused:
            return f"{begin}The joblist as a whole is still paused: {self._command('resume')}"
        if not self.workers:
            return f"{begin}No worker is running. Start one: {self._command('transfer')}"
        return f"{begin}{self._running} and will notice within seconds."

    def _stopped(self) -> str:
        if self.whole:
            begin = "Would ask the workers to stop. " if self.dry_run else "Asked to stop. "
            if not self.workers:
                next_ = "No worker is running. "
            else:
                next_ = (
                    f"{self._running}: within seconds {self._each} finishes the files and parts in "
                    "progress, hands its job back and ends with exit code 3. "
                )
            return f"{begin}{next_}Workers that start later aren't concerned."
        if not self.jobs:
            return "No job was stopped."
        begin = f"{self._would or 'Stopped '}{'stop ' if self.dry_run else ''}{self._what}. "
        # A dry run claims no job, so it doesn't know which are held.
        held = 0 if self.dry_run else len(self.jobs) - len(self.ended)
        next_ = ""
        if held:
            next_ = (
                f"{jobs_text(held)} held by a worker: it finishes the files and parts in progress "
                "within seconds. "
            )
        will = "would be" if self.dry_run else "will be" if held else "is now"
        return (
            f"{begin}{next_}What is stopped {will} in error. To take it up again: "
            f"{self._command('retry')} --job NAME"
        )


def named(names: Sequence[str]) -> str:
    """Return a few of some names, and how many there are."""
    if len(names) == 1:
        return f"job {quote(names[0])}"
    few = ", ".join(quote(name) for name in names[:_NAMED])
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{len(names)} jobs ({few}{more})"


def jobs_text(count: int) -> str:
    """Return ``1 job is`` or ``3 jobs are``."""
    return f"{count} {'job is' if count == 1 else 'jobs are'}"


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]
