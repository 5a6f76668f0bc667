"""The method scp against a real sshd: odd names, kills, lies, a full disk, nothing left."""

from __future__ import annotations

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from jobtool.errors import StoreUnavailableError
from jobtool.transfer.partranges import MEBIBYTE
from tests.methods.lab import LIES, Lab, liar
from tests.needs import lack, need
from tests.servers.counting import counting_proxy
from tests.servers.sftp import SftpServer, sftp_server
from tests.trees import contents, status_of


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    need("scp", "ssh", packages="openssh-client")
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.mark.parametrize("is_upload", [True, pytest.param(False, marks=pytest.mark.wide)])
def test_a_tree_with_odd_names(sftp: SftpServer, tmp_path: Path, is_upload: bool) -> None:
    lab = Lab(tmp_path, sftp, is_upload=is_upload)
    lab.add_odd_names()
    lab.generate()
    assert lab.transfer("scp").succeeded == 1, lab.told()
    lab.assert_done(scp=44)


def test_names_from_a_server_are_no_patterns(sftp: SftpServer, tmp_path: Path) -> None:
    lab = Lab(tmp_path, sftp, is_upload=False)
    names = ("*[a]?{b,c}\\", "new\nline \udcff")
    for name in (*names, "a"):
        lab.add(name, os.fsencode(name))
    lab.generate()
    assert lab.transfer("scp").succeeded == 1, lab.told()
    lab.assert_done(scp=3)


@pytest.mark.parametrize(
    ("is_upload", "number"),
    [
        pytest.param(True, signal.SIGKILL, marks=pytest.mark.wide),
        pytest.param(True, signal.SIGTERM, marks=pytest.mark.wide),
        pytest.param(False, signal.SIGKILL, marks=pytest.mark.wide),
    ],
)
def test_a_worker_that_ends_leaves_nothing_running_and_no_half_file(
    sftp: SftpServer, tmp_path: Path, is_upload: bool, number: signal.Signals
) -> None:
    size = 24 * MEBIBYTE
    with counting_proxy(sftp.ports["shell"], 16 * MEBIBYTE) as proxy:
        sftp.trust_port(proxy.port)
        lab = Lab(tmp_path, sftp, is_upload=is_upload, port=proxy.port)
        lab.add("large", random.Random(0).randbytes(size))
        job = lab.generate()
        exit_code = lab.kill_mid_way("scp", enough=size // 3, number=number)
        assert exit_code in (-number, 3)
        if number == signal.SIGTERM:
            assert status_of(job).endswith("todo")
        assert lab.transfer("scp").succeeded == 1, lab.told()
    lab.assert_done(scp=1)


def test_what_a_killed_attempt_has_left_is_removed_by_the_next_without_scp(
    sftp: SftpServer, tmp_path: Path
) -> None:
    with counting_proxy(sftp.ports["shell"], 8 * MEBIBYTE) as proxy:
        sftp.trust_port(proxy.port)
        lab = Lab(tmp_path, sftp, is_upload=True, port=proxy.port)
        lab.add("large", random.Random(0).randbytes(6 * MEBIBYTE))
        lab.generate()
        lab.kill_mid_way("scp", enough=MEBIBYTE, number=signal.SIGKILL)
        assert [*lab.left_behind()]
        assert lab.transfer("stream").succeeded == 1
    lab.assert_done(stream=1)


@pytest.mark.parametrize(
    "lie", [pytest.param(lie, marks=[pytest.mark.wide] * (lie != "half")) for lie in LIES]
)
@pytest.mark.parametrize("is_upload", [True, pytest.param(False, marks=pytest.mark.wide)])
def test_a_lie_makes_no_receipt(
    sftp: SftpServer, tmp_path: Path, lie: str, is_upload: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, sftp, is_upload=is_upload)
    for number in range(5):
        lab.add(f"folder/{number}", b"%d" % number * 1000)
    lab.generate()
    monkeypatch.setenv("PATH", liar(tmp_path / "bin", "scp", lie))
    assert lab.transfer("scp", "stream").succeeded == 1, lab.told()
    lab.assert_done(stream=5)


def test_ssh_that_fails_is_told(
    sftp: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, sftp, is_upload=True)
    lab.add("file", b"data")
    lab.generate('[ssh]\noptions = ["ProxyCommand=false"]\n')
    assert lab.transfer("scp", "stream", trust=True).succeeded == 1
    lab.assert_done(stream=1)
    assert "the connection to 127.0.0.1 ended" in lab.told()[0]


@pytest.mark.wide
@pytest.mark.parametrize("method", ["rsync", "scp"])
def test_a_full_disk_there_hands_the_job_back(
    sftp: SftpServer, tmp_path: Path, method: str
) -> None:
    lab = Lab(tmp_path, sftp, is_upload=True)
    lab.add("large", random.Random(0).randbytes(6 * MEBIBYTE))
    job = lab.generate()
    lab.out.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(lab.out)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        lack("this user may not mount a tmpfs")
    try:
        filler = lab.out / "filler"
        filler.write_bytes(bytes(4 * MEBIBYTE))
        with pytest.raises(StoreUnavailableError, match="no space left"):
            lab.transfer(method, "stream", patience_seconds=0)
        assert status_of(job).endswith("todo")
        assert not [*lab.left_behind()]
        # SFTP has no code for it, and the message of an rsync that dies there may be lost.
        assert any(
            words in lab.told()[0] for words in ("no space", "Failure", "such as on a full disk")
        )
        filler.unlink()
        assert lab.transfer(method).succeeded == 1, lab.told()
        assert contents(lab.out) == contents(lab.source)
    finally:
        subprocess.run(["umount", str(lab.out)], check=True)


@pytest.mark.wide
def test_five_thousand_files(sftp: SftpServer, tmp_path: Path) -> None:
    lab = Lab(tmp_path, sftp, is_upload=True)
    for number in range(5000):
        lab.add(f"{number // 100}/{number}", b"%d" % number)
    lab.generate()
    assert lab.transfer("scp").succeeded == 1, lab.told()
    lab.assert_done(scp=5000)
