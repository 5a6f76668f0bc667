"""What the managers refuse, return and log."""

from __future__ import annotations

import logging

import fsspec
import pytest

from jobtool.compat.impala_transfer import FSSpecFileTransferManager, UnifiedFileTransferManager
from jobtool.compat.impala_transfer.manager import _identity_of
from jobtool.errors import UsageError
from tests.trees import contents, receipts, write


@pytest.fixture(autouse=True)
def state(tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.INFO, logger="jobtool.compat.impala_transfer")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "jobtool" / "impala_transfer"


@pytest.fixture
def files(tmp_path):
    return [str(write(tmp_path / "in" / name, name.encode())) for name in ("a b", "ü%20#", "c\nd")]


def local(tmp_path, **more):
    return FSSpecFileTransferManager(
        target_fs_config={"protocol": "file", "target_path": f"{tmp_path}/out"}, **more
    )


def test_files_go_into_the_target_path_whatever_the_table(tmp_path, files, state):
    assert local(tmp_path).transfer_files(files, "some/table") is True
    assert contents(tmp_path / "out") == contents(tmp_path / "in")
    (joblist,) = (path for path in state.iterdir() if path.is_dir())
    assert joblist.name.startswith("some%2Ftable-")
    assert state.stat().st_mode & 0o077 == 0
    assert len(receipts(joblist)) == 3


def test_each_call_has_a_joblist_of_its_own_and_the_same_call_the_same(tmp_path, files, state):
    def joblists():
        return len([path for path in state.iterdir() if path.is_dir()])

    manager = local(tmp_path)
    for _ in range(2):
        assert manager.transfer_files(files, "t")
        assert joblists() == 1
    for number, (given, table, path) in enumerate(
        [(files[:1], "t", None), (files, "u", None), (files, "t", f"{tmp_path}/other")], start=2
    ):
        assert manager.transfer_files(given, table, path)
        assert joblists() == number


def test_a_named_joblist_is_for_one_call(tmp_path, files, caplog):
    manager = local(tmp_path, joblist=tmp_path / "jobs")
    assert manager.transfer_files(files, "t")
    assert (tmp_path / "jobs" / "joblist.toml").exists()
    assert manager.transfer_files(files, "t")
    assert not manager.transfer_files(files[:1], "t")
    assert "lists other files" in caplog.text
    assert not manager.transfer_files(files, "t", f"{tmp_path}/other")
    assert "another destination" in caplog.text


def test_a_file_that_fails_is_logged_and_the_others_arrive(tmp_path, files, caplog, capfd):
    assert local(tmp_path).transfer_files([*files, f"{tmp_path}/in/gone"], "t") is False
    assert f"{tmp_path}/in/gone" in caplog.text
    assert "not all files are at" in caplog.text
    assert contents(tmp_path / "out") == contents(tmp_path / "in")
    write(tmp_path / "in" / "gone", b"here now")
    assert local(tmp_path).transfer_files([*files, f"{tmp_path}/in/gone"], "t") is True
    assert contents(tmp_path / "out") == contents(tmp_path / "in")
    assert capfd.readouterr() == ("", "")


def test_two_files_of_one_name_are_refused(tmp_path, caplog):
    twins = [str(write(tmp_path / folder / "x", folder.encode())) for folder in ("a", "b")]
    assert local(tmp_path).transfer_files(twins, "t") is False
    assert "one would overwrite the other" in caplog.text
    assert not (tmp_path / "out").exists()


def test_a_call_that_was_refused_may_be_made_again_with_other_files(tmp_path, caplog):
    twins = [str(write(tmp_path / folder / "x", folder.encode())) for folder in ("a", "b")]
    manager = local(tmp_path, joblist=tmp_path / "new" / "folder" / "jobs")
    assert not manager.transfer_files(twins, "t")
    assert "one would overwrite the other" in caplog.text
    assert manager.transfer_files(twins[:1], "t")
    assert (tmp_path / "out" / "x").read_bytes() == b"a"


def test_filesystems_differ_by_nested_options_but_not_by_secrets():
    def identity(**options):
        return _identity_of({"protocol": "s3", "client_kwargs": options})

    one = identity(endpoint_url="http://one", aws_secret_access_key="x")
    assert one == identity(endpoint_url="http://one", aws_secret_access_key="y")
    assert one != identity(endpoint_url="http://two", aws_secret_access_key="x")


def test_no_files_are_a_success_without_a_trace(tmp_path, state):
    assert local(tmp_path).transfer_files([], "t") is True
    assert not state.exists()


def test_links_keep_their_names(tmp_path, files):
    (tmp_path / "latest").symlink_to(files[0])
    assert local(tmp_path).transfer_files([tmp_path / "latest"], "t")
    assert (tmp_path / "out" / "latest").read_bytes() == b"a b"


def test_the_unified_manager_passes_all_on(tmp_path, files):
    manager = UnifiedFileTransferManager(
        use_fsspec=True,
        target_fs=fsspec.filesystem("file"),
        fsspec_config={"transfer_options": {"chunk_size": 1024, "threads": 2}},
    )
    assert manager.transfer_files(files, target_table="t", target_path=f"{tmp_path}/out")
    assert contents(tmp_path / "out") == contents(tmp_path / "in")


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (FSSpecFileTransferManager, "found neither"),
        (lambda: FSSpecFileTransferManager(target_fs_config={}), "expected protocol"),
        (lambda: FSSpecFileTransferManager(target_fs=3), "found int"),
        (lambda: UnifiedFileTransferManager(use_fsspec=False), "use_fsspec: expected True"),
        (lambda: UnifiedFileTransferManager(fsspec_config={"x": 1}), "found 'x'"),
        (lambda: local("/x", transfer_options={"chunks": 1}), "found 'chunks'"),
        (lambda: local("/x", transfer_options={"chunk_size": "1M"}), "chunk_size: expected"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_at_once(make, expected):
    with pytest.raises(UsageError, match=expected):
        make()


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (("/x", "t", "/out"), "filepaths: expected a list"),
        ((["/x"], "t", None), "target_path: expected the folder"),
        ((["/x"], "t", "s3://bucket/x"), "has the protocol 'file'"),
    ],
)
def test_calls_that_make_no_sense_are_logged(given, expected, caplog, tmp_path):
    manager = FSSpecFileTransferManager(target_fs=fsspec.filesystem("file"))
    assert manager.transfer_files(*given) is False
    assert expected in caplog.text
