"""``jobtool top``: the live view of a joblist with keys that steer its workers."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import click

from jobtool.cli.console import Console
from jobtool.cli.keys import BACKSPACE, ENTER, ESCAPE, Keys
from jobtool.cli.options import command
from jobtool.cli.page import Line, Page
from jobtool.cli.summarise import DEFAULT_SECONDS, Shown
from jobtool.cli.terminal import is_terminal
from jobtool.cli.version import version_option
from jobtool.cli.watch import Screen, ended, one_line_of_counts
from jobtool.errors import JobtoolError, UsageError
from jobtool.jobs.job import JobStatus
from jobtool.names import quote, visible
from jobtool.redact import redact

if TYPE_CHECKING:
    from rich.console import Console as RichConsole

    from jobtool.jobs.joblist import JobList
    from jobtool.jobs.workerstates import SeenState
    from jobtool.report.jobline import JobLine

#: More jobs of one status aren't listed.
_MOST_JOBS = 1000

#: More lines aren't shown of why a job is in error; enter shows all.
_MOST_LINES_OF_WHY = 5

_LONG_KEYS = (
    "p pause  r resume  s stop  (P R S: only this job)  b bandwidth  "
    "j k arrows: choose a job  enter: show it  q quit"
)
_SHORT_KEYS = "p pause r resume s stop (PRS: this job) b bandwidth jk choose enter show q quit"


@command(name="jobtool top", example="jobtool top source08")
@click.argument("joblist_path", metavar="JOBLIST")
@click.option(
    "--every",
    "seconds",
    type=click.FloatRange(0.2, 86_400),
    default=DEFAULT_SECONDS,
    show_default=True,
    metavar="SECONDS",
    help="How often to look.",
)
@version_option
def cli(*, joblist_path: str, seconds: float) -> int:
    """Watch a joblist, and steer its workers by keys.

    It shows what summarise-jobs --watch shows, and a list of the jobs. Keys pause, resume and stop
    all workers or one job, set the bandwidth, and show a job; they are listed on the screen. It
    asks before it stops anything. q or Ctrl-C ends it; the workers go on.
    """
    from rich.console import Console as RichConsole

    from jobtool.api.places import opened
    from jobtool.report.live import LiveJoblist

    terminal = RichConsole(highlight=False)
    for stream, what in ((sys.stdin, "input"), (sys.stdout, "output")):
        if not is_terminal(stream) or terminal.is_dumb_terminal:
            raise UsageError(
                f"jobtool top expects a terminal as its {what}; found none. Without one: "
                "summarise-jobs --watch, jobtool pause, resume, stop and set."
            )
    joblist = opened(joblist_path)
    shown = _JobsShown(LiveJoblist(joblist))
    with Keys(sys.stdin.fileno()) as keys:
        screen = _Top(shown, terminal, seconds, keys)
        screen.run()
    shown.names_jobs = False
    return ended(screen, shown, Console())


class _JobsShown(Shown):
    """All jobs are listed: first those that say something now."""

    def __init__(self, live: object) -> None:
        super().__init__(live, names_jobs=True)  # type: ignore[arg-type]

    def jobs(self) -> list[JobLine]:
        """Return the jobs: under way, in error, to do, done; some of the last two."""
        live = self.live
        return [
            *live.of_status(JobStatus.ONGOING),
            *live.of_status(JobStatus.ERROR, None),
            *live.of_status(JobStatus.TODO, most=_MOST_JOBS),
            *live.of_status(JobStatus.SUCCESS, most=_MOST_JOBS),
        ]


class _Question:
    """Something that the user is asked at the bottom of the screen.

    A question for a key is answered by ``y``. One for a text has ``text``, what is typed so far.
    """

    def __init__(self, prompt: str, act: Callable[[str], str], *, wants_text: bool) -> None:
        self.prompt, self.act, self.wants_text, self.text = prompt, act, wants_text, ""


class _Top(Screen):
    """The screen with keys."""

    hint = "q quits"

    def __init__(self, shown: Shown, terminal: RichConsole, seconds: float, keys: Keys) -> None:
        super().__init__(shown, terminal, seconds)
        self._keys = keys
        self._joblist: JobList = shown.live.joblist
        self._chosen: str | None = None  # the name of the job with the cursor
        self._question: _Question | None = None
        self._message = ""
        self._pane: Sequence[str] | None = None  # the lines about one job
        self._scrolled = 0
        self._busy = threading.Lock()

    def inputs(self) -> list[int]:
        """Return the terminal's descriptor."""
        return [self._keys.descriptor]

    def on_input(self) -> None:
        """Take keys."""
        try:
            keys = self._keys.read()
        except EOFError:
            self.is_over = True
            return
        for key in keys:
            if self._question is not None:
                self._answer(self._question, key)
            elif self._pane is not None:
                self._in_pane(key)
            else:
                self._on_key(key)

    def _on_key(self, key: str) -> None:
        self._message = ""
        jobs = self._jobs
        at = self._cursor(jobs)
        moves = {"j": 1, "down": 1, "k": -1, "up": -1, "page down": 10, "page up": -10}
        moves |= {"home": -len(jobs), "end": len(jobs)}
        if key in moves and jobs:
            self._chosen = jobs[min(max(at + moves[key], 0), len(jobs) - 1)].job
        elif key in ("q", "Q"):
            self.is_over = True
        elif key in ("p", "r", "s", "b"):
            self._steer(key, None)
        elif key in ("P", "R", "S") and jobs:
            self._steer(key.lower(), jobs[at].job)
        elif key == ENTER and jobs:
            self._show(jobs[at].job)

    def _steer(self, key: str, job: str | None) -> None:
        from jobtool.api.setoptions import set_options
        from jobtool.api.steer import pause_jobs, resume_jobs, stop_jobs

        jobs = None if job is None else (job,)
        if key == "p":
            self._act(lambda: pause_jobs(self._joblist, jobs=jobs).text())
        elif key == "r":
            self._act(lambda: resume_jobs(self._joblist, jobs=jobs).text())
        elif key == "s":
            what = "all running workers" if job is None else f"the job {quote(job)}"
            end = "" if job is None else ", and the job is in error then"
            self._question = _Question(
                f"Stop {what}? Files in progress are finished{end}. y/n",
                lambda _: stop_jobs(self._joblist, jobs=jobs).text(),
                wants_text=False,
            )
        else:
            self._question = _Question(
                "Bandwidth of all workers, such as 200MB/s or unlimited (nothing: the default):",
                lambda text: set_options(self._joblist, {"bandwidth": text or None}).text(),
                wants_text=True,
            )

    def _answer(self, question: _Question, key: str) -> None:
        if not question.wants_text:
            self._question = None
            if key in ("y", "Y"):
                self._act(lambda: question.act(""))
            else:
                self._message = "Nothing was changed."
        elif key == ENTER:
            self._question = None
            self._act(lambda: question.act(question.text.strip()))
        elif key == ESCAPE:
            self._question, self._message = None, "Nothing was changed."
        elif key == BACKSPACE:
            question.text = question.text[:-1]
        elif len(key) == 1 and key.isprintable():
            question.text += key

    def _act(self, action: Callable[[], str], then: Callable[[str], None] | None = None) -> None:
        """Do something in a thread of its own, since the filesystem may be slow."""
        if not self._busy.acquire(blocking=False):
            self._message = "The last one is still under way."
            return
        self._message = "..."

        def work() -> None:
            try:
                told = action()
                if then is None:
                    self._message = " ".join(told.split("\n"))
                else:
                    self._message = ""
                    then(told)
            except JobtoolError as error:
                self._message = str(error)
            except Exception as error:
                self._message = f"{type(error).__name__}: {error}"
            finally:
                self._busy.release()
                self.looker.look_again()
                self.wake()

        threading.Thread(target=work, name="key", daemon=True).start()

    def _show(self, job: str) -> None:
        from jobtool.api.report import show_job
        from jobtool.cli.show import lines_of

        def show(text: str) -> None:
            self._pane, self._scrolled = text.split("\n"), 0

        self._act(lambda: "\n".join(lines_of(show_job(self._joblist, job), with_log=True)), show)

    def _in_pane(self, key: str) -> None:
        moves = {"j": 1, "down": 1, "k": -1, "up": -1, "page down": 10, "page up": -10, " ": 10}
        if key in moves:
            self._scrolled = max(self._scrolled + moves[key], 0)
        elif key == "home":
            self._scrolled = 0
        elif key in ("q", "Q", ESCAPE, ENTER):
            self._pane = None

    @property
    def _jobs(self) -> Sequence[JobLine]:
        return () if self.overview is None else self.overview.jobs or ()

    def _cursor(self, jobs: Sequence[JobLine]) -> int:
        """Return the index of the job with the cursor; the first if it is gone."""
        return next((n for n, job in enumerate(jobs) if job.job == self._chosen), 0)

    def lines(self, page: Page, height: int) -> list[Line]:
        """Return the lines of the screen; the last ones are for messages and keys."""
        foot = self._foot(page)
        room = max(height - len(foot), 1)
        make = self._body if self._pane is None else self._pane_lines
        body = make(page, room)[:room]
        return [*body, *[(("", ""),)] * (room - len(body)), *foot]

    def _body(self, page: Page, room: int) -> list[Line]:
        from jobtool.cli.summaryview import View

        overview = self.overview
        lines = self.title(page)
        if overview is None:
            return [*lines, (("Reading the joblist...", "yellow"),)]
        view = View(overview, page)
        lines += [*view.state(), *self.late(page), *view.pauses(), *view.bar(), *view.rate()]
        lines += [one_line_of_counts(overview), (("", ""),)]
        jobs = self._jobs
        if not jobs:
            return lines
        count = max(room - len(lines) - 1, 1)
        at = self._cursor(jobs)
        first = min(max(at - count // 2, 0), max(len(jobs) - count, 0))
        held = {seen.state.job: seen for seen in overview.workers}
        window = jobs[first : first + count]
        return [*lines, *_job_table(page, window, held, at - first)]

    def _pane_lines(self, page: Page, room: int) -> list[Line]:
        lines: list[Line] = []
        for text in self._pane or ():
            lines += page.sentence(visible(redact(text)), indent=4)
        self._scrolled = min(self._scrolled, max(len(lines) - room, 0))
        return lines[self._scrolled :]

    def _foot(self, page: Page) -> list[Line]:
        lines: list[Line] = []
        if self._question is not None:
            text = f"{self._question.prompt} {self._question.text}"
            text += "_" if self._question.wants_text else ""
            lines += page.sentence(text, style="bold yellow")
        elif self._message:
            lines += page.sentence(visible(redact(self._message)), style="yellow")
        elif self._pane is None:
            lines += self._why(page)
        if self._pane is not None:
            keys = "j k arrows: scroll  q: back"
        else:
            keys = _LONG_KEYS if (page.width or 0) > len(_LONG_KEYS) else _SHORT_KEYS
        return [*lines, *page.sentence(keys, style="reverse", indent=0)]

    def _why(self, page: Page) -> list[Line]:
        """Return why the chosen job is in error: its row has little room for that."""
        jobs = self._jobs
        job = jobs[self._cursor(jobs)] if jobs else None
        if job is None or job.status not in (JobStatus.ERROR, None) or not job.note:
            return []
        return page.sentence(visible(redact(job.note)), style="red")[:_MOST_LINES_OF_WHY]


def _job_table(
    page: Page, jobs: Sequence[JobLine], held: dict[str | None, SeenState], at: int
) -> list[Line]:
    from jobtool.units import rate_text, size_text

    rows = []
    for number, job in enumerate(jobs):
        # The worker of a job that has just ended may not have told yet.
        seen = held.get(job.job) if job.status is JobStatus.ONGOING else None
        told = job if seen is None or seen.state.bytes_done is None else seen.state
        done = ""
        if told.bytes_total and told.bytes_done is not None:
            share = int(100 * min(told.bytes_done / told.bytes_total, 1.0))
            done = f"{share}% of {size_text(told.bytes_total)}"
        rate = None if seen is None else seen.state.bytes_per_second
        status = job.status.value if job.status else "invalid"
        note = job.note if seen is None else f"{seen.state.worker} {seen.state.phase}"
        rows.append(
            (
                *(">" if number == at else " ", quote(job.job), status, done),
                *(rate_text(rate) if rate else "", visible(redact(note))),
            )
        )
    styles = [
        "reverse" if number == at else "red" if row[2] in ("error", "invalid") else ""
        for number, row in enumerate(rows)
    ]
    headings = ("", "job", "status", "done", "rate", "worker, or why")
    return page.table(
        headings, rows, right=frozenset({3, 4}), flexible=(5, 1), least={5: 16}, styles=styles
    )
