"""What events count as, in every order that a worker may tell them."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from jobtool.events import Event
from jobtool.metrics.counts import Counts, Feed, Place
from jobtool.metrics.recorder import Recorder
from jobtool.worker.events import (
    JobClaimed,
    JobFailed,
    JobHandedBack,
    JobInvalid,
    JobLost,
    JobProgress,
    JobStarted,
    JobSucceeded,
    StepBegun,
    StepDone,
    TriedAgain,
)


class Clock:
    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def claimed(job: str = "a", attempt: int = 1) -> list[Event]:
    return [
        JobClaimed(job=job, stem=job, status="todo", attempt=attempt),
        JobStarted(job=job, source="/in", destination="/out"),
    ]


def progress(files: int, size: int, sent: int) -> JobProgress:
    return JobProgress(
        job="a",
        files_done=0,
        files_total=0,
        bytes_done=0,
        bytes_total=0,
        files_sent=0,
        bytes_sent=sent,
        rate_mb_s=0.0,
        files_proven=files,
        bytes_proven=size,
    )


def counted(*told: Event) -> dict[Place, Counts]:
    recorder = Recorder(Clock())
    feed = recorder.feed()
    for event in told:
        recorder.observe(event)
    return recorder.drain(feed).counts


def test_a_plain_job_is_the_step_copy() -> None:
    done = JobSucceeded(job="a", files=2, bytes=9, seconds=1.0)
    again = TriedAgain(job="a", reason="busy")
    found = counted(*claimed(), progress(1, 4, 5), again, progress(2, 9, 9), done)
    assert found == {
        Place("a", "copy", None, 1): Counts(
            files=2, bytes=9, sent_bytes=9, retries=1, ended={"success": 1}
        ),
        Place("a", None, None, 1): Counts(ended={"success": 1}),
    }


def test_a_chain_has_the_steps_that_were_begun_and_no_other() -> None:
    begun = StepBegun(job="a", step="unpack", attempt=2, route="relay")
    done = StepDone(job="a", step="unpack", seconds=1.0)
    failed = JobFailed(job="a", reason="full", failed_files=0, will_be_tried_again=False)
    found = counted(
        *claimed(attempt=3), begun, done, StepBegun(job="a", step="note", attempt=1), failed
    )
    assert {place: counts.ended for place, counts in found.items()} == {
        Place("a", "unpack", "relay", 2): {"success": 1},
        Place("a", "note", None, 1): {"error": 1},
        Place("a", None, None, 3): {"error": 1},
    }


def test_the_states_of_jobs_that_end() -> None:
    ends = {
        "success": JobSucceeded(job="a", files=0, bytes=0, seconds=0.0),
        "error": JobFailed(job="a", reason="", failed_files=1, will_be_tried_again=False),
        "failed": JobFailed(job="a", reason="", failed_files=1, will_be_tried_again=True),
        "handed-back": JobHandedBack(job="a", reason=""),
        "waiting": JobHandedBack(job="a", reason="", not_before="2026-01-01T00:00:00Z"),
        "lost": JobLost(job="a", reason=""),
        "left": JobInvalid(stem="a", reason="edited"),
    }
    for state, end in ends.items():
        found = counted(*claimed(), JobInvalid(stem="another", reason=""), end, end)
        assert {(place.step, *counts.ended) for place, counts in found.items()} == {
            ("copy", state),
            (None, state),
        }


def test_seconds_count_while_a_step_runs() -> None:
    clock = Clock()
    recorder = Recorder(clock)
    feed = recorder.feed()
    seconds = []
    for events in (claimed(), [], [JobLost(job="a", reason="")], []):
        for event in events:
            recorder.observe(event)
        clock.now += 5
        drained = recorder.drain(feed)
        seconds.append(sum(counts.seconds for counts in drained.counts.values()))
        assert (drained.running is not None) == (len(seconds) < 3)
    assert seconds == [5, 5, 0, 0]


_EVENTS = st.sampled_from(
    [
        *claimed("a"),
        *claimed("b", 2),
        StepBegun(job="a", step="unpack", attempt=1),
        StepDone(job="a", step="unpack", seconds=1.0),
        JobSucceeded(job="a", files=0, bytes=0, seconds=0.0),
        JobLost(job="a", reason=""),
        TriedAgain(job="a", reason=""),
    ]
)
_PROGRESS = st.builds(progress, *[st.integers(0, 100)] * 3)


@given(st.lists(st.one_of(_EVENTS, _PROGRESS, st.none())))
def test_no_order_of_events_loses_or_lowers_a_count(told: list[Event | None]) -> None:
    """None stands for a drain of one of two feeds; both get the same in all."""
    recorder = Recorder(Clock())
    often, once = recorder.feed(), recorder.feed()
    sums = Counter[str]()

    def note(counts: dict[Place, Counts], sums: Counter[str]) -> None:
        for each in counts.values():
            found = (each.files, each.bytes, each.sent_bytes, each.retries)
            assert min(found) >= 0
            names = ("files", "bytes", "sent_bytes", "retries")
            sums.update(dict(zip(names, found, strict=True)))
            sums.update(each.ended)

    for event in told:
        if event is None:
            note(recorder.drain(often).counts, sums)
        else:
            recorder.observe(event)
    note(recorder.drain(often).counts, sums)
    whole = Counter[str]()
    note(recorder.drain(once).counts, whole)
    assert +sums == +whole


def test_a_feed_that_nobody_drains_stays_small_and_keeps_every_count() -> None:
    feed = Feed(most=10)
    for number in range(1000):
        feed.at(Place(f"job{number}", "copy", None, 1)).files += 1
    assert len(feed) == 11
    taken = feed.take()
    assert sum(counts.files for counts in taken.values()) == 1000
    assert taken[Place(None, "copy", None, 0)].files == 990
    assert len(feed) == 0
