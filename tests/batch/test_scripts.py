"""Batch scripts, run by a real bash: what they start, where signals go, when jobs are requeued."""

from __future__ import annotations

import itertools
import os
import signal
import subprocess
from pathlib import Path

import pytest

from jobtool.api.steer import pause_jobs, resume_jobs, stop_jobs
from jobtool.batch.pbs import pbs_script
from jobtool.batch.request import BatchRequest
from jobtool.batch.slurm import slurm_script
from jobtool.jobs.control import path_of
from jobtool.jobs.joblist import JobList
from jobtool.jobs.settings import Settings
from tests.batch.fakes import ELEMENT, JOB, FakeCluster

SCHEDULERS = ("slurm", "pbs")
WORKERS = ("transfer-worker", "mpirun", "srun")
AGAIN = {"slurm": "scontrol", "pbs": "qsub"}
HOSTILE = [
    "/plain",
    "/two  spaces ",
    "/line\nbreak\n#SBATCH --exclusive\n",
    '/it\'s "quoted"',
    "/$(touch owned) `touch owned` $HOME ${x} !! ~ *",
    "/back\\slash\\",
    "/a; touch owned & touch owned | cat #",
    "/\t\r\x01 é ✓",
    os.fsdecode(b"/no-\xff-utf8"),
    "-n",
]


def script_of(scheduler: str, **options: object) -> str:
    settings = {"joblist": "/list", "time": "12:00:00", "scheduler": scheduler, **options}
    request = BatchRequest(**settings)  # type: ignore[arg-type]
    return slurm_script(request) if scheduler == "slurm" else pbs_script(request)


@pytest.fixture
def cluster(folder: Path) -> FakeCluster:
    return FakeCluster(folder / "cluster")


CHOICES = {
    "joblist": ["/list", HOSTILE[2]],
    "tasks": [1, 4],
    "array": [None, "0-15"],
    "cpus_per_task": [None, 2],
    "requeue": [True, False],
    "partition": [None, "long"],
    "account": [None, "proj-1"],
    "launcher": [None, "mpirun"],
}


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_bash_reads_every_script_and_every_directive_stands_at_its_head(scheduler: str) -> None:
    texts = []
    for values in itertools.product(*CHOICES.values()):
        text = script_of(scheduler, **dict(zip(CHOICES, values, strict=True)))
        lines = text.split("\njoblist=")[0].splitlines()
        assert lines[0] == "#!/bin/bash"
        head = list(itertools.takewhile(lambda line: line.startswith("#"), lines))
        mark = {"slurm": "#SBATCH ", "pbs": "#PBS "}[scheduler]
        assert [line for line in lines if line.startswith(mark)] == head[1:]
        texts.append(text)
    assert len(set(texts)) > 100
    for some in texts[:: len(texts) // 32]:  # each a process
        done = subprocess.run(["bash", "-n"], input=os.fsencode(some), capture_output=True)
        assert (done.returncode, done.stderr) == (0, b""), some


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("joblist", HOSTILE)
def test_hostile_names_reach_the_worker_as_they_are(
    cluster: FakeCluster, scheduler: str, joblist: str
) -> None:
    done = cluster.run(script_of(scheduler, joblist=joblist, worker_options=("--job", joblist)))
    (call,) = done.of(*WORKERS)
    assert call[:3] == ["transfer-worker", "-i", joblist]
    assert call[-2:] == ["--job", joblist]
    assert (done.exit_code, done.stderr) == (0, "")
    assert not list(cluster.folder.rglob("owned"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, ["transfer-worker"]),
        (
            {"tasks": 4},
            ["mpirun", "--continuous", "--bind-to", "none", "-n", "4", "transfer-worker"],
        ),
        (
            {"tasks": 1, "launcher": "mpirun"},
            ["mpirun", "--continuous", "--bind-to", "none", "-n", "1"],
        ),
        (
            {"tasks": 4, "launcher": "srun"},
            ["srun", "--kill-on-bad-exit=0", "--ntasks=4", "transfer-worker"],
        ),
        (
            {"tasks": 4, "cpus_per_task": 2, "launcher": "srun"},
            ["srun", "--kill-on-bad-exit=0", "--ntasks=4", "--cpus-per-task=2", "transfer-worker"],
        ),
    ],
)
def test_workers_are_started_by_what_suits_their_number(
    cluster: FakeCluster, options: dict[str, object], words: list[str]
) -> None:
    (call,) = cluster.run(script_of("slurm", grace_seconds=300, **options)).of(*WORKERS)
    assert call[: len(words)] == words
    assert call[-4:] == ["-i", "/list", "--grace", "300"]


def test_directives_of_slurm() -> None:
    text = script_of(
        "slurm",
        array="0-15%4",
        tasks=4,
        cpus_per_task=2,
        partition="long",
        account="proj",
        job_name="source08",
        grace_seconds=300,
    )
    directives = [line[8:] for line in text.splitlines() if line.startswith("#SBATCH")]
    assert directives == [
        "--job-name=source08",
        "--partition=long",
        "--account=proj",
        "--array=0-15%4",
        "--ntasks=4",
        "--cpus-per-task=2",
        "--time=12:00:00",
        "--signal=B:USR1@300",
        "--output=source08-%A_%a.log",
        "--open-mode=append",
        "--requeue",
    ]
    alone = script_of("slurm", time=None, requeue=False)
    assert "#SBATCH --output=transfer-%j.log\n" in alone
    assert "#SBATCH --no-requeue\n" in alone
    assert "--time" not in alone


def test_directives_of_pbs_and_the_time_limit_of_its_workers(cluster: FakeCluster) -> None:
    text = script_of(
        "pbs", array="0-15", tasks=4, cpus_per_task=2, partition="long", time="1-11:30:00"
    )
    directives = [line[5:] for line in text.splitlines() if line.startswith("#PBS")]
    assert directives == [
        "-N transfer",
        "-q long",
        "-J 0-15",
        "-l select=4:ncpus=2:mpiprocs=1",
        "-l walltime=35:30:00",
        "-j oe",
        "-r y",
        "-V",
    ]
    (call,) = cluster.run(text).of(*WORKERS)
    assert call[call.index("--time-limit") + 1] == "35h30m"


@pytest.mark.parametrize(
    ("scheduler", "types", "directives"),
    [
        ("slurm", (), ["--mail-user=me@example.org,him", "--mail-type=END,FAIL"]),
        ("slurm", ("time-limit", "all"), ["--mail-type=TIME_LIMIT,ALL"]),
        ("pbs", (), ["-M me@example.org,him", "-m ae"]),
        ("pbs", ("end", "begin", "array-tasks"), ["-m jbe"]),
        ("pbs", ("all",), ["-m abe"]),
        ("pbs", ("none",), ["-m n"]),
    ],
)
def test_the_scheduler_sends_mail(
    scheduler: str, types: tuple[str, ...], directives: list[str]
) -> None:
    text = script_of(scheduler, mail_user="me@example.org,him", mail_types=types)
    lines = {line.partition(" ")[2] for line in text.splitlines() if line.startswith("#")}
    assert lines.issuperset(directives)
    assert "mail" not in script_of(scheduler)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("tasks", [1, 4])
@pytest.mark.parametrize("code", [0, 1, 2, 3, 4, 137])
def test_only_work_that_is_left_brings_the_job_back(
    cluster: FakeCluster, scheduler: str, tasks: int, code: int
) -> None:
    done = cluster.run(script_of(scheduler, tasks=tasks), worker_code=str(code))
    assert (done.exit_code, done.stderr) == (code, "")
    assert len(done.of(*WORKERS)) == 1
    assert len(done.of(*AGAIN.values())) == (code == 3)
    assert len(done.of(AGAIN[scheduler])) == (code == 3)
    assert ("Work is left" in done.stdout) == (code == 3)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_no_requeue_means_none(cluster: FakeCluster, scheduler: str) -> None:
    done = cluster.run(script_of(scheduler, requeue=False), worker_code="3")
    assert done.exit_code == 3
    assert len(done.calls) == 1


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("what", ["stop", "pause", "the same stop"])
def test_a_script_whose_workers_were_stopped_does_not_come_back(
    cluster: FakeCluster, scheduler: str, what: str
) -> None:
    joblist = JobList.create(str(cluster.folder / "list"), Settings(destination="/x"))
    pause_jobs(joblist)
    stop_jobs(joblist)
    (cluster.folder / "asked").write_bytes(Path(path_of(joblist)).read_bytes())
    if what == "stop":
        stop_jobs(joblist)
    elif what == "pause":
        resume_jobs(joblist)
    text = script_of(scheduler, joblist=str(cluster.folder))
    os.rename(path_of(joblist), cluster.folder / "control.json")
    done = cluster.run(text, worker_code="3", asked=str(cluster.folder / "asked"))
    assert (done.exit_code, done.stderr) == (3, "")
    assert len(done.of(AGAIN[scheduler])) == (what != "stop")


@pytest.mark.parametrize(("variables", "name"), [(JOB, "12"), (ELEMENT, "12_3")])
def test_slurm_requeues_the_job_or_the_element_and_never_the_array(
    cluster: FakeCluster, variables: dict[str, str], name: str
) -> None:
    done = cluster.run(script_of("slurm", array="0-7"), variables, worker_code="3")
    assert done.of("scontrol") == [["scontrol", "requeue", name]]


def test_pbs_submits_the_script_without_its_array(cluster: FakeCluster) -> None:
    text = script_of("pbs", array="0-7", joblist="/not\n#PBS -J 1-2\nthis")
    done = cluster.run(text, ELEMENT, worker_code="3")
    assert done.of("qsub") == [["qsub"]]
    assert (cluster.folder / "submitted").read_text() == text.replace("#PBS -J 0-7\n", "")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_refusal_to_come_back_is_told_and_the_code_stays(
    cluster: FakeCluster, scheduler: str
) -> None:
    done = cluster.run(script_of(scheduler), worker_code="3", again_code="1")
    assert done.exit_code == 3
    assert "Could not" in done.stderr


def test_pbs_submits_nothing_where_the_script_was_renamed(cluster: FakeCluster) -> None:
    done = cluster.run(script_of("pbs", job_name="other"), worker_code="3")
    assert done.exit_code == 3
    assert "Could not submit other.pbs" in done.stderr
    assert not done.of("qsub")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
@pytest.mark.parametrize("tasks", [1, 4])
@pytest.mark.parametrize("number", [signal.SIGUSR1, signal.SIGTERM])
def test_signals_reach_the_workers_as_usr1_and_are_waited_for(
    cluster: FakeCluster, scheduler: str, tasks: int, number: signal.Signals
) -> None:
    process = cluster.start(
        script_of(scheduler, tasks=tasks), JOB, worker_code="3", UNTIL_SIGNAL="yes"
    )
    cluster.wait_until_working()
    process.send_signal(number)
    done = cluster.finish(process)
    program = "transfer-worker" if tasks == 1 else "mpirun"
    assert done.stdout.splitlines()[:2] == [f"{program} got USR1", f"{program} ends"]
    assert (done.exit_code, done.stderr) == (3, "")
    # TERM means that a user doesn't want the job to come back.
    assert len(done.of(AGAIN[scheduler])) == (number == signal.SIGUSR1)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_signals_that_come_again_neither_hurry_nor_lose_the_exit_code(
    cluster: FakeCluster, scheduler: str
) -> None:
    process = cluster.start(script_of(scheduler), JOB, worker_code="1", UNTIL_SIGNAL="yes")
    cluster.wait_until_working()
    for _ in range(3):
        process.send_signal(signal.SIGUSR1)
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=0.05)
    done = cluster.finish(process)
    assert done.stdout.splitlines()[-1] == "transfer-worker ends"
    assert (done.exit_code, done.stderr) == (1, "")


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_signal_before_the_workers_are_known_still_reaches_them(
    cluster: FakeCluster, scheduler: str
) -> None:
    early = cluster.folder / "early.sh"
    early.write_text(
        "at() {\n"
        "    [ \"$BASH_COMMAND\" = 'workers=$!' ] || return\n"
        '    until [ -e "$RECORD/working" ]; do sleep 0.01; done\n'
        "    kill -USR1 $$\n"
        "}\n"
        "case $0 in *.pbs) trap at DEBUG ;; esac\n"
    )
    process = cluster.start(
        script_of(scheduler), JOB, worker_code="3", UNTIL_SIGNAL="yes", BASH_ENV=str(early)
    )
    done = cluster.finish(process)
    assert done.stdout.splitlines()[:2] == ["transfer-worker got USR1", "transfer-worker ends"]
    assert done.exit_code == 3
