"""A worker's rank and place, from MPI, from the scheduler or from neither."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from jobtool.worker.environment import Environment, detect, joined
from tests.commands import environment, finish, run, run_ok, start
from tests.prepare import prepare
from tests.trees import make_items, statuses


def detected_elsewhere(cwd: Path, **variables: str) -> dict[str, object]:
    """What a fresh process with these variables finds, and whether it has imported mpi4py."""
    code = (
        "import json, os, sys\n"
        "from jobtool.worker.environment import detect\n"
        "found = detect(os.environ)\n"
        "print(json.dumps([found.rank, found.size, found.array_index, 'mpi4py' in sys.modules]))"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(
        command, capture_output=True, text=True, env=environment(variables), cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    return dict(zip(("rank", "size", "array_index", "mpi"), json.loads(done.stdout), strict=True))


@pytest.mark.parametrize(
    ("variables", "rank", "size", "array_index"),
    [
        ({}, 0, 1, 0),
        ({"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_STEP_ID": "0"}, 3, 8, 0),
        ({"SLURM_PROCID": "1", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "4"}, 1, 2, 0),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8"}, 0, 1, 0),  # a batch script
        ({"SLURM_NTASKS": "8"}, 0, 1, 0),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "1", "SLURM_ARRAY_TASK_ID": "17"}, 0, 1, 17),
        ({"PBS_ARRAY_INDEX": "5"}, 0, 1, 5),
        ({"LSB_JOBINDEX": "6"}, 0, 1, 6),
        ({"SGE_TASK_ID": "undefined"}, 0, 1, 0),
        ({"SLURM_ARRAY_TASK_ID": "²", "PBS_ARRAY_INDEX": "5"}, 0, 1, 5),
        ({"SLURM_ARRAY_TASK_ID": "9" * 400}, 0, 1, 0),
        ({"OMPI_COMM_WORLD_SIZE": "²", "OMPI_COMM_WORLD_RANK": "0"}, 0, 1, 0),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "٣", "SLURM_STEP_ID": "0"}, 0, 1, 0),
    ],
    ids=str,
)
def test_without_mpi_the_schedulers_variables_count_and_mpi_is_not_imported(
    tmp_path: Path, variables: dict[str, str], rank: int, size: int, array_index: int
) -> None:
    found = detected_elsewhere(tmp_path, **variables)
    assert found == {"rank": rank, "size": size, "array_index": array_index, "mpi": False}


@pytest.mark.parametrize("prefix", ["OMPI_COMM_WORLD_", "PMI_", "MV2_COMM_WORLD_"])
def test_under_mpirun_without_mpi4py_the_launchers_variables_count(
    monkeypatch: pytest.MonkeyPatch, prefix: str
) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)  # importing it raises ImportError
    found = detect({f"{prefix}SIZE": "4", f"{prefix}RANK": "2"})
    assert (found.rank, found.size, found.communicator) == (2, 4, None)


@pytest.mark.parametrize(
    "variables",
    [
        {"SLURM_PROCID": "7", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "5"},
        {"SLURM_PROCID": "2", "SLURM_STEP_NUM_TASKS": "2", "SLURM_STEP_ID": "0"},
        {"OMPI_COMM_WORLD_SIZE": "2", "OMPI_COMM_WORLD_RANK": "2"},
        {"PMI_SIZE": "0", "PMI_RANK": "0"},
    ],
    ids=str,
)
def test_a_rank_that_is_not_below_the_size_stands_alone(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    found = detect(variables)
    assert (found.rank, found.size, found.run, found.start_of(10)) == (0, 1, None, 0)


def test_ranks_that_their_launcher_names_alike_do_without_mpi(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    here = {
        "OMPI_COMM_WORLD_SIZE": "2",
        "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
        "PMIX_NAMESPACE": "prterun-node-17@1",
        "PMIX_SERVER_URI4": "prterun-node-17@0.0;tcp4://127.0.0.1:38927",
    }
    first, second = (joined({**here, "OMPI_COMM_WORLD_RANK": rank}) for rank in "01")
    assert (first.rank, second.rank, first.size, first.is_mpi) == (0, 1, 2, True)
    assert first.run == second.run is not None
    # The process ID of the launcher has come again.
    later = {"PMIX_SERVER_URI4": "prterun-node-17@0.0;tcp4://127.0.0.1:40001"}
    assert joined({**here, **later, "OMPI_COMM_WORLD_RANK": "0"}).run != first.run
    slurm = {"PMIX_NAMESPACE": "slurm.pmix.7.0", "PMIX_RANK": "1", "SLURM_STEP_NUM_TASKS": "3"}
    requeued = [joined({**slurm, "SLURM_RESTART_COUNT": count}) for count in "01"]
    assert [(one.rank, one.size) for one in requeued] == [(1, 3)] * 2
    assert requeued[0].run != requeued[1].run
    # Jobs of two clusters, which may work on one joblist, have the same numbers.
    clusters = [joined({**slurm, "SLURM_CLUSTER_NAME": name}) for name in ("one", "two")]
    assert clusters[0].run != clusters[1].run


def test_a_worker_whose_rank_makes_no_sense_works_alone(tmp_path: Path) -> None:
    items = make_items(tmp_path / "in", 2)
    paths = ("-i", items, "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    prepare("generate-joblist", *paths)
    env = {"SLURM_PROCID": "7", "SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "5"}
    done = run_ok("transfer-worker", "-i", tmp_path / "list", env=env)
    assert "Found 2 job file(s)" in done.stdout  # which of several ranks only the first prints
    assert set(statuses(tmp_path / "list").values()) == {"success"}


def test_a_worker_is_named_by_host_and_process() -> None:
    assert Environment(host="node017", pid=4711).worker == "node017:4711"


def test_ranks_start_at_places_of_their_own() -> None:
    starts = [Environment(rank=rank, size=4).start_of(100) for rank in range(4)]
    assert starts == [0, 25, 50, 75]


@pytest.mark.parametrize("count", [0, 1, 2, 7])
@pytest.mark.parametrize("rank", [0, 3, 99])
def test_every_start_is_a_place_in_the_list(count: int, rank: int) -> None:
    for place in (
        Environment(rank=rank, size=100, array_index=1000),
        Environment(host=f"node{rank}", pid=rank),
    ):
        assert 0 <= place.start_of(count) < max(count, 1)


def test_of_the_tasks_of_srun_the_first_tells_the_exit_code_of_all(tmp_path: Path) -> None:
    items = make_items(tmp_path / "in", 2)
    (items / "item000" / "link").symlink_to("nowhere")
    paths = ("-i", items, "-o", tmp_path / "list", "-d", tmp_path / "out", "-l", "tree")
    run("generate-joblist", *paths)
    step = {"SLURM_NTASKS": "2", "SLURM_STEP_ID": "0", "SLURM_JOB_ID": "7"}
    tasks = [
        start("transfer-worker", "-i", tmp_path / "list", env={**step, "SLURM_PROCID": rank})
        for rank in ("0", "1")
    ]
    first, second = (finish(task) for task in tasks)
    assert (first.exit_code, second.exit_code) == (1, 0)
    assert "These 2 workers finished 1 job(s), 1 in error." in first.stdout
    assert second.stdout == ""
    assert not list((tmp_path / "list" / ".claims" / "runs").iterdir())
    assert statuses(tmp_path / "list") == {"item000": "error", "item001": "success"}
