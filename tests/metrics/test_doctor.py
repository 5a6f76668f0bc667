"""``jobtool doctor`` says whether metrics can be written and sent. It fails for none of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtool.jobs.metricssettings import TOKEN_VARIABLE
from tests.commands import run, unused_port
from tests.doctor.examined import Examined, examined
from tests.metrics.places import make_joblist, points_server, write_metrics


def doctor(joblist: Path, **env: str) -> Examined:
    found = examined(run("jobtool", "doctor", joblist, "--json", env=env))
    assert found.done.exit_code == 0, found.done
    return found


def test_places_that_answer_pass_and_nothing_is_left(tmp_path: Path) -> None:
    (tmp_path / "collector").mkdir()
    with points_server() as server:
        joblist = make_joblist(
            tmp_path,
            1,
            metrics=f'textfile = "{tmp_path / "collector"}"\ninflux = "{server.url}"\n'
            'statsd = "127.0.0.1:8125"',
        )
        found = doctor(joblist, **{TOKEN_VARIABLE: "a-token-for-this"})
    verdicts = {
        each: found.one("metrics", each)["verdict"] for each in ("write", "answer", "address")
    }
    assert set(verdicts.values()) == {"pass"}
    assert (server.points, server.tokens) == ([], ["Token a-token-for-this"])
    assert [*(tmp_path / "collector").iterdir()] == []


@pytest.mark.parametrize(
    ("status", "verdict", "advice"),
    [(400, "pass", ""), (401, "warn", TOKEN_VARIABLE), (404, "warn", "bucket"), (503, "warn", "")],
)
def test_answers_are_judged(tmp_path: Path, status: int, verdict: str, advice: str) -> None:
    with points_server() as server:
        server.status = status
        joblist = make_joblist(tmp_path, 1, metrics=f'influx = "{server.url}"')
        found = doctor(joblist).one("metrics", "answer")
    assert (found["verdict"], found["where"]) == (verdict, server.url)
    assert str(status) in found["found"]
    assert advice in found["advice"]


def test_what_is_not_there_is_a_warning(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, 1)
    write_metrics(
        joblist,
        f'textfile = "{tmp_path / "gone"}"\nstatsd = "no-such-host.invalid:1"\n'
        f'influx = "http://127.0.0.1:{unused_port()}/write"',
    )
    found = doctor(joblist)
    for check in ("write", "answer", "address"):
        assert found.one("metrics", check)["verdict"] == "warn"
