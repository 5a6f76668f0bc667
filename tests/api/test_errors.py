"""Wrong input: one line that names the thing, of the error's own kind, and nothing is printed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

import jobtool
from tests.trees import make_items, snapshot, write


@pytest.fixture
def joblist(tmp_path: Path) -> Path:
    make_items(tmp_path / "in", 2)
    jobtool.generate_joblist(tmp_path / "in", tmp_path / "list", destination=tmp_path / "out")
    return tmp_path / "list"


def assert_refused(
    call: Callable[[], object], kind: type[jobtool.JobtoolError], *expected: str
) -> None:
    with pytest.raises(kind) as caught:
        call()
    assert type(caught.value) is kind
    text = str(caught.value)
    assert "\n" not in text
    for word in expected:
        assert word in text


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"threads": 0}, ("threads", "at least 1", "found 0")),
        ({"threads": 257}, ("threads", "256", "found 257")),
        ({"threads": "many"}, ("threads", "whole number")),
        ({"max_jobs": 0}, ("max_jobs", "1 or more", "found 0")),
        ({"max_jobs": 1.5}, ("max_jobs", "found 1.5")),
        ({"max_attempts": 0}, ("max_attempts", "found 0")),
        ({"part_size_bytes": 1000}, ("part_size_bytes", "found 1000")),
        ({"patience_seconds": -1}, ("patience_seconds", "found -1")),
        ({"time_limit_seconds": -5}, ("time_limit_seconds", "0 or more", "found -5")),
        ({"time_limit_seconds": float("nan")}, ("time_limit_seconds", "found nan")),
        ({"grace_seconds": "1m"}, ("grace_seconds", "found '1m'")),
        ({"time_limit_seconds": 60, "grace_seconds": 60}, ("grace_seconds 60", "60s")),
        ({"if_exists": "replace"}, ("if_exists", "overwrite", "found 'replace'")),
        ({"verify": "md5"}, ("verify", "read-back", "found 'md5'")),
        ({"links": "folow"}, ("links", "Did you mean 'follow'?")),
        ({"if_gone": "skip"}, ("if_gone", "ignore", "found 'skip'")),
        ({"preserve": ["mod"]}, ("preserve", "found 'mod'", "Did you mean 'mode'?")),
        ({"preserve": "mode"}, ("preserve", "expected a list", "text")),
        ({"preserve": ["none", "mode"]}, ("preserve", "none")),
        ({"claims": "locks"}, ("claims", "lease", "found 'locks'")),
        ({"credentials": {"provider": "magic"}}, ("provider", "magic")),
    ],
)
def test_an_argument_of_a_transfer_that_makes_no_sense_is_named_and_nothing_is_done(
    joblist: Path, capfd, arguments: dict[str, object], expected: tuple[str, ...]
) -> None:
    before = snapshot(joblist)
    assert_refused(
        lambda: jobtool.transfer_jobs(joblist, **arguments), jobtool.UsageError, *expected
    )
    assert snapshot(joblist) == before
    assert capfd.readouterr() == ("", "")


VERBS = [
    jobtool.clean_jobs,
    jobtool.read_receipts,
    jobtool.retry_jobs,
    jobtool.summarise_jobs,
    jobtool.transfer_jobs,
    jobtool.verify_jobs,
    lambda joblist: jobtool.show_job(joblist, "a"),
    lambda joblist: jobtool.write_receipts(joblist, "table.csv"),
    lambda joblist: jobtool.write_report(joblist, "report.csv"),
]


@pytest.mark.parametrize("verb", VERBS)
def test_what_is_no_joblist_is_refused_by_every_function(
    tmp_path: Path, verb: Callable[..., object]
) -> None:
    missing = tmp_path / "nowhere"
    assert_refused(lambda: verb(missing), jobtool.UsageError, str(missing), "found nothing")
    assert_refused(lambda: verb(tmp_path), jobtool.JoblistError, str(tmp_path), "joblist.toml")
    assert_refused(lambda: verb(7), jobtool.UsageError, "os.PathLike", "found int")
    assert_refused(lambda: verb(b"list"), jobtool.UsageError, "os.PathLike", "found bytes")
    assert_refused(lambda: verb("s3//bucket"), jobtool.UsageError, "s3//bucket")


def test_generating_refuses_what_the_command_refuses(tmp_path: Path, joblist: Path) -> None:
    source = tmp_path / "in"

    def generate(*paths: object, **arguments: object) -> Callable[[], object]:
        return lambda: jobtool.generate_joblist(*paths, **arguments)

    missing = tmp_path / "no"
    assert_refused(generate(missing, "x"), jobtool.UsageError, str(missing), "found nothing")
    assert_refused(
        generate(source, "s3://bucket/x"), jobtool.UsageError, "s3://bucket/x", "found a URL"
    )
    wrong = generate(source, tmp_path / "x", destination="d", layout="plats")
    assert_refused(wrong, jobtool.LayoutError, "plats", "Did you mean 'plates'?")
    other = generate(source, joblist, destination=tmp_path / "elsewhere")
    assert_refused(other, jobtool.JoblistError, "destination", "elsewhere")
    unused = generate(source, tmp_path / "x", destination="d", layout="tree", values={"a": "b"})
    assert_refused(unused, jobtool.UsageError, "a")
    assert not (tmp_path / "x").exists()


def test_retry_and_verify_refuse_names_that_make_no_sense(tmp_path: Path, joblist: Path) -> None:
    jobtool.transfer_jobs(joblist)
    for verb in (jobtool.retry_jobs, jobtool.verify_jobs):
        assert_refused(lambda: verb(joblist, jobs="item000"), jobtool.UsageError, "['item000']")  # noqa: B023
        assert_refused(lambda: verb(joblist, jobs=["item9"]), jobtool.UsageError, "item9")  # noqa: B023
    both = lambda: jobtool.retry_jobs(joblist, jobs=["item000"], match="x")  # noqa: E731
    assert_refused(both, jobtool.UsageError, "both")
    assert_refused(lambda: jobtool.verify_jobs(joblist, threads=0), jobtool.UsageError, "threads")
    table = tmp_path / "all.parquet"
    jobtool.write_receipts(joblist, table)
    repair = lambda: jobtool.verify_jobs(table, repair=True)  # noqa: E731
    assert_refused(repair, jobtool.UsageError, "expected a joblist", str(table))
    assert_refused(
        lambda: jobtool.write_receipts(joblist, tmp_path / "all.txt"),
        jobtool.UsageError,
        ".parquet or .csv",
        "all.txt",
    )
    write(tmp_path / "no.parquet", b"no table")
    assert_refused(
        lambda: jobtool.verify_jobs(tmp_path / "no.parquet"), jobtool.JobtoolError, "no.parquet"
    )


def test_a_destination_that_cannot_be_written_is_an_error_and_the_job_is_handed_back(
    tmp_path: Path,
) -> None:
    make_items(tmp_path / "in", 1)
    write(tmp_path / "file")
    destination = tmp_path / "file" / "below"
    jobtool.generate_joblist(tmp_path / "in", tmp_path / "list", destination=destination)
    with pytest.raises(jobtool.InfrastructureError) as caught:
        jobtool.transfer_jobs(tmp_path / "list")
    assert caught.value.exit_code == 4
    assert "\n" not in str(caught.value)
    assert jobtool.summarise_jobs(tmp_path / "list").count(jobtool.JobStatus.TODO) == 1


def test_a_job_in_error_raises_nothing_and_is_counted(joblist: Path, tmp_path: Path) -> None:
    write(joblist / "odd.txt", b"what is this?\n")
    (tmp_path / "in" / "item000" / "0.bin").unlink()
    (tmp_path / "in" / "item000" / "0.bin").symlink_to("nowhere")
    done = jobtool.transfer_jobs(joblist)
    assert (done.succeeded, done.failed, done.exit_code) == (1, 1, 1)
    assert (done.statuses["error"], done.statuses["invalid"]) == (1, 1)
    assert jobtool.retry_jobs(joblist, match="no such reason").put_back == ()
    retried = jobtool.retry_jobs(joblist)
    assert [one.job for one in retried.put_back] == ["item000"]
    assert [one.job for one in retried.left_alone] == ["odd"]
    assert retried.exit_code == 1


def test_paths_of_settings_mean_the_same_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    make_items(tmp_path / "in", 1)
    write(tmp_path / "site.pem")
    jobtool.generate_joblist("in", "list", destination="out", s3={"ca_bundle": Path("site.pem")})
    settings = jobtool.JobList.open("list").settings
    assert settings.s3 == {"ca_bundle": str(tmp_path / "site.pem")}
    assert settings.destination == str(tmp_path / "out")


def test_trust_is_for_a_path(joblist: Path) -> None:
    opened = jobtool.JobList.open(str(joblist))
    refused = lambda: jobtool.transfer_jobs(opened, trust=True)  # noqa: E731
    assert_refused(refused, jobtool.UsageError, "trust", "found a JobList")
