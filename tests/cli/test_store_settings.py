"""Tables of stores other than S3: set when a joblist is made, and kept when it is made again."""

from __future__ import annotations

import tomllib
from pathlib import Path

from tests.commands import assert_one_line_error, run, run_ok
from tests.trees import make_items


def generate(folder: Path, *settings: str) -> tuple[object, ...]:
    told = [word for text in settings for word in ("--set", text)]
    return (
        *("generate-joblist", "-i", folder / "in", "-o", folder / "list", "-l", "tree"),
        *("-d", "sftp://storage.example/copies", *told),
    )


def settings_of(folder: Path) -> dict[str, object]:
    return tomllib.loads((folder / "list" / "joblist.toml").read_text())


def test_keys_of_any_store_are_set_and_survive_another_generation(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 2)
    run_ok(
        *generate(tmp_path, "sftp.user=lab", "sftp.destination.port=2222", "az.account=ours"),
        cwd=tmp_path,
    )
    expected = {"user": "lab", "destination": {"port": "2222"}}
    assert settings_of(tmp_path)["sftp"] == expected
    make_items(tmp_path / "in", 3)
    run_ok(*generate(tmp_path, "sftp.commands=never"), cwd=tmp_path)
    found = settings_of(tmp_path)
    assert found["sftp"] == {**expected, "commands": "never"}
    assert found["az"] == {"account": "ours"}
    assert len(list((tmp_path / "list").glob("*.txt"))) == 3


def test_files_of_a_table_are_absolute(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    run_ok(*generate(tmp_path, "sftp.known_hosts=hosts"), cwd=tmp_path)
    assert settings_of(tmp_path)["sftp"] == {"known_hosts": str(tmp_path / "hosts")}


def test_an_unknown_key_of_a_store_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    done = run(*generate(tmp_path, "sftp.usr=lab"), cwd=tmp_path)
    assert_one_line_error(done, 2, "[sftp]", "usr", "user")
    assert not (tmp_path / "list").exists()


def test_a_secret_is_refused_in_any_table(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 1)
    done = run(*generate(tmp_path, "github.token=abc"), cwd=tmp_path)
    assert_one_line_error(done, 2, "looks like a secret")
    assert "abc" not in done.stdout + done.stderr
    done = run(*generate(tmp_path, "s3.secret_access_key=abc"), cwd=tmp_path)
    assert_one_line_error(done, 2, "looks like a secret", "AWS_SECRET_ACCESS_KEY")
    assert "abc" not in done.stdout + done.stderr
