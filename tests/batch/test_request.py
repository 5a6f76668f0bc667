"""What can't be written into a script, or contradicts itself, is refused."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobtool.batch.pbs import pbs_script
from jobtool.batch.request import BatchRequest
from jobtool.batch.walltime import as_clock, as_units, walltime_seconds
from jobtool.errors import UsageError


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("00:00:01", 1), ("12:00:00", 43200), ("2-01:30:00", 178200), ("100:00:00", 360000)],
)
def test_wall_times_are_read(text: str, seconds: int) -> None:
    assert walltime_seconds(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "12", "12:00", "1:60:00", "1:00:60", "-1:00:00", "12h", "1-2"]
)
def test_other_wall_times_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="expected HH:MM:SS"):
        walltime_seconds(text)


@given(st.integers(min_value=0, max_value=10**7))
def test_a_clock_reads_back(seconds: int) -> None:
    assert walltime_seconds(as_clock(seconds)) == seconds


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (60, "1m"), (41400, "11h30m"), (90061, "25h1m1s"), (3601, "1h1s")],
)
def test_units_leave_out_what_is_zero(seconds: int, text: str) -> None:
    assert as_units(seconds) == text


@pytest.mark.parametrize(
    "array", ["0-15", "0-15%4", "1,3,5-9", "0-15:2", "7", "1-2:1,5%1", "3-3", "9-10:10%10", "0,0-0"]
)
def test_arrays_of_slurm(array: str) -> None:
    assert BatchRequest(joblist="/list", array=array).array == array


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"array": "all"}, "--array: expected .*found all"),
        ({"array": "0-15\n#SBATCH --exclusive"}, "--array"),
        ({"array": "1,3", "scheduler": "pbs"}, "--array"),
        ({"array": "15-0"}, "found 15-0 in 15-0. Did you mean 0-15"),
        ({"array": "1,3-5,9-7:2%4"}, "found 9-7 in 1,3-5,9-7:2%4"),
        ({"array": "15-0", "scheduler": "pbs"}, "found 15-0"),
        ({"array": "0-15:0"}, "step after : of at least 1; found 0 in 0-15:0"),
        ({"array": "0-15:00,3"}, "step after : of at least 1"),
        ({"array": "0-15:0", "scheduler": "pbs"}, "step after : of at least 1"),
        ({"array": "0-15%0"}, "number at a time after % of at least 1; found 0 in 0-15%0"),
        ({"array": "0-" + "9" * 5000}, "--array: expected"),
        ({"array": "0-١٥"}, "--array: expected .*found"),
        ({"array": "٠-١٥", "scheduler": "pbs"}, "--array: expected .*found"),
        ({"job_name": "two words"}, "--job-name: .*two words"),
        ({"job_name": ""}, "--job-name"),
        ({"job_name": "100%j"}, "--job-name"),
        ({"job_name": "a\n#SBATCH --exclusive"}, "--job-name"),
        ({"job_name": "-n"}, "--job-name"),
        ({"partition": "a b"}, "--partition"),
        ({"account": "'"}, "--account"),
        ({"time": "soon"}, "--time"),
        ({"time": "١٢:00:00"}, "--time"),
        ({"time": "00:02:00"}, "--grace 120 leaves nothing of --time 00:02:00"),
        ({"scheduler": "pbs", "time": "01:00:00", "launcher": "srun"}, "srun is Slurm's"),
        ({"mail_user": "me@example.org\n#SBATCH --exclusive"}, "--mail-user: expected addresses"),
        ({"mail_user": "me@%j.org"}, "--mail-user"),
        ({"mail_user": "me@example.org,"}, "--mail-user"),
        ({"mail_user": "-me@example.org"}, "--mail-user"),
        ({"mail_types": ("end",)}, "--mail-type needs --mail-user"),
        ({"mail_user": "me", "mail_types": ("ends",)}, "found ends. Did you mean end"),
        ({"mail_user": "me", "mail_types": ("",)}, "--mail-type: expected some of begin, end"),
        ({"mail_user": "me", "mail_types": ("none", "end")}, "expected none alone"),
        (
            {"mail_user": "me", "mail_types": ("requeue",), "scheduler": "pbs"},
            "requeue is Slurm's; with --scheduler pbs use some of begin, end",
        ),
        ({"worker_options": ("--grace=3",)}, "--grace=3 to its workers itself"),
        ({"worker_options": ("--threads", "2", "-i")}, "-i to its workers itself"),
        ({"worker_options": ("-isomewhere",)}, "-isomewhere to its workers itself"),
        ({"worker_options": ("--threads", "2", "-i=other")}, "-i=other to its workers itself"),
        ({"worker_options": ("other-list",)}, "expected one joblist.*found other-list"),
    ],
)
def test_requests_that_make_no_sense_are_refused_by_the_option(
    wrong: dict[str, object], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        BatchRequest(joblist="/list", **wrong)  # type: ignore[arg-type]


def test_pbs_needs_a_time() -> None:
    with pytest.raises(UsageError, match="pbs needs --time"):
        pbs_script(BatchRequest(joblist="/list", scheduler="pbs"))
