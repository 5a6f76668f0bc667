"""The table ``[metrics]``: what is refused, and what has to be trusted."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobtool.errors import JoblistError
from jobtool.jobs.metricssettings import TOKEN_VARIABLE, address_of
from jobtool.jobs.settings import Settings, decode, encode
from tests.commands import assert_one_line_error, run, run_ok
from tests.metrics.places import make_joblist, points_server, textfiles


def read(metrics: str) -> Settings:
    return decode(f"format = 1\n[metrics]\n{metrics}\n", path="joblist.toml")


@pytest.mark.parametrize(
    ("metrics", "expected"),
    [
        ('textfile = "relative"', "absolute path"),
        ('textfile = 3', "expected text"),
        ('influx = "http://host:8086"', "URL to which lines are posted"),
        ('influx = "ftp://host/write"', "URL to which lines are posted"),
        ('influx = "http://host:99999/write"', "URL to which lines are posted"),
        ('influx = "http://host/wr ite"', "URL to which lines are posted"),
        ('influx = "http://[host/write"', "URL to which lines are posted"),
        ('influx = "http://host/write?precision=s"', "nanoseconds; found 's'"),
        ('statsd = "host"', "expected HOST:PORT"),
        ('statsd = "host:0"', "expected HOST:PORT"),
        ('statsd = "host:80 80"', "expected HOST:PORT"),
        ('statsd = ":8125"', "expected HOST:PORT"),
        ("interval_seconds = 0", "1"),
        ('per_jobs = true', "Did you mean 'per_job'"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused(metrics: str, expected: str) -> None:
    with pytest.raises(JoblistError, match=r"joblist\.toml") as refused:
        read(metrics)
    assert expected in str(refused.value)


@pytest.mark.parametrize(
    "metrics",
    [
        'influx = "http://user:hunter2222@host/write"',
        'influx = "http://hunter2222@host/write"',
        'influx = "http://host/write?db=x&u=me&p=hunter2222"',
        'influx = "http://host/write?db=x&Token=hunter2222"',
        'influx_token = "hunter2222"',
    ],
)
def test_a_login_is_refused_and_not_shown(metrics: str) -> None:
    with pytest.raises(JoblistError, match=TOKEN_VARIABLE) as refused:
        read(metrics)
    assert "hunter2222" not in str(refused.value)


def test_settings_survive_and_defaults_are_not_written() -> None:
    settings = read('textfile = "/x"\nstatsd = "[::1]:8125"\nper_job = true')
    assert decode(encode(settings), path="joblist.toml") == settings
    assert "metrics" not in encode(Settings())
    assert address_of("[::1]:8125") == ("::1", 8125)


@pytest.mark.parametrize("key", ["textfile", "influx", "statsd"])
def test_a_place_that_others_could_have_written_has_to_be_trusted(tmp_path: Path, key: str) -> None:
    with points_server() as server:
        values = {"textfile": str(tmp_path), "influx": server.url, "statsd": "127.0.0.1:9"}
        joblist = make_joblist(tmp_path, 1, metrics=f'{key} = "{values[key]}"')
        (joblist / "joblist.toml").chmod(0o666)
        token = {TOKEN_VARIABLE: "a-token-for-others"}
        assert_one_line_error(
            run("transfer-worker", "-i", joblist, env=token), 2, "a place for metrics", "--trust"
        )
        assert (server.tokens, textfiles(tmp_path)) == ([], {})
        run_ok("transfer-worker", "-i", joblist, "--trust", env=token)
        assert bool(server.points) == (key == "influx")
        assert bool(textfiles(tmp_path)) == (key == "textfile")


def test_numbers_and_switches_need_no_trust(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path, 1, metrics="interval_seconds = 2\nper_job = true")
    (joblist / "joblist.toml").chmod(0o666)
    run_ok("transfer-worker", "-i", joblist)
