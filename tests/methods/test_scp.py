"""The method scp against a real sshd: odd names, resuming, refusals, lies, nothing left."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.methods.lab import Lab
from tests.needs import need
from tests.servers.sftp import SftpServer, sftp_server


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    need("scp", "ssh", packages="openssh-client")
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.mark.parametrize("is_upload", [True, False])
def test_a_tree_with_odd_names(sftp: SftpServer, tmp_path: Path, is_upload: bool) -> None:
    lab = Lab(tmp_path, sftp, is_upload=is_upload)
    lab.add_odd_names()
    lab.generate()
    assert lab.transfer("scp").succeeded == 1, lab.told()
    lab.assert_done(scp=44)
