"""The order in which jobs are tried, and when an idle worker stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.worker.schedule import in_turn, rotated
from jobtool.worker.waiting import credential_pause_seconds, may_get_work, pause_seconds

JOB_IDS = st.lists(st.text(min_size=1), unique=True, max_size=20)


@given(JOB_IDS, st.data())
def test_a_rotated_list_keeps_its_cyclic_order(job_ids: list[str], data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(job_ids)))
    found = rotated(job_ids, start)
    assert rotated(found, len(job_ids) - start) == job_ids
    assert found[:1] == (job_ids[start : start + 1] or job_ids[:1])


@given(JOB_IDS, st.lists(st.booleans(), min_size=20, max_size=20))
def test_each_job_comes_once_from_the_end_that_is_asked_for(
    job_ids: list[str], from_other_end: list[bool]
) -> None:
    asked = iter(from_other_end)
    left = [*job_ids]
    for job_id, is_last in zip(in_turn(job_ids, lambda: next(asked)), from_other_end, strict=False):
        assert job_id == left.pop(-1 if is_last else 0)
    assert not left


@given(*[st.booleans()] * 5)
def test_an_idle_worker_stays_for_its_ranks_or_for_jobs_that_may_come_free(
    ongoing: bool, waits: bool, may_help: bool, undecided: bool, ranks: bool
) -> None:
    stays = may_get_work(
        is_any_ongoing=ongoing,
        waits=waits,
        may_help=may_help,
        is_claim_undecided=undecided,
        must_wait_for_ranks=ranks,
    )
    assert stays == (ranks or (ongoing and any((waits, may_help, undecided))))


def test_a_provider_gets_more_time_after_each_failure_until_the_third() -> None:
    assert [credential_pause_seconds(failures) for failures in (1, 2, 3, 4)] == [1, 2, None, None]


@pytest.mark.parametrize(
    ("look_seconds", "idle_seconds", "for_ranks", "expected"),
    [
        (0.001, 0.0, False, 0.5),
        (0.001, 0.0, True, 0.1),  # one rank alone waits for the others
        (0.2, 0.0, True, 1.0),  # so that it mostly sleeps
        (0.001, 20.0, True, 2.0),
        (0.001, 3600.0, False, 10.0),
    ],
)
def test_a_pause_grows_with_the_time_of_a_look_and_with_the_idle_time(
    look_seconds: float, idle_seconds: float, for_ranks: bool, expected: float
) -> None:
    assert pause_seconds(look_seconds, idle_seconds, for_ranks=for_ranks) == expected
