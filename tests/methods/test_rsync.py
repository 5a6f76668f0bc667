"""The method rsync against a real sshd: odd names, resuming, refusals, lies, nothing left."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from jobtool.methods.overssh import failure_over_ssh
from jobtool.methods.rsync import Rsync, _name_of
from jobtool.methods.rsyncexits import failure_by
from jobtool.stores.registry import StoreRegistry
from jobtool.stores.sftp.store import SftpStore
from jobtool.transfer.partranges import MEBIBYTE
from tests.methods.lab import LIES, Lab, liar
from tests.needs import need
from tests.servers.counting import counting_proxy
from tests.servers.sftp import SftpServer, new_key, sftp_server
from tests.trees import status_of


@pytest.fixture(scope="module")
def sftp(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SftpServer]:
    need("rsync", "ssh", packages="rsync openssh-client")
    with sftp_server(tmp_path_factory.mktemp("sftp")) as server:
        yield server


@pytest.mark.parametrize("is_upload", [True, False])
def test_a_tree_with_odd_names(sftp: SftpServer, tmp_path: Path, is_upload: bool) -> None:
    lab = Lab(tmp_path, sftp, is_upload=is_upload)
    lab.add_odd_names()
    lab.generate()
    assert lab.transfer("rsync").succeeded == 1, lab.told()
    lab.assert_done(rsync=44)


SMALL = (24 * MEBIBYTE, 12 * MEBIBYTE)
LARGE = (1024 * MEBIBYTE, 96 * MEBIBYTE)


@pytest.mark.parametrize(
    ("is_upload", "size", "speed", "number"),
    [
        (True, *SMALL, signal.SIGKILL),
        pytest.param(False, *SMALL, signal.SIGTERM, marks=pytest.mark.wide),
        pytest.param(True, *LARGE, signal.SIGKILL, marks=pytest.mark.wide),
        pytest.param(True, *LARGE, signal.SIGTERM, marks=pytest.mark.wide),
        pytest.param(False, *LARGE, signal.SIGKILL, marks=pytest.mark.wide),
    ],
)
def test_it_resumes_within_a_file_after_a_worker_has_ended(
    sftp: SftpServer,
    tmp_path: Path,
    is_upload: bool,
    size: int,
    speed: int,
    number: signal.Signals,
) -> None:
    with counting_proxy(sftp.ports["shell"], speed) as proxy:
        sftp.trust_port(proxy.port)
        lab = Lab(tmp_path, sftp, is_upload=is_upload, port=proxy.port)
        random_bytes = random.Random(0).randbytes
        lab.add("large", b"".join(random_bytes(MEBIBYTE) for _ in range(size // MEBIBYTE)))
        lab.add("small", b"data")
        job = lab.generate()
        exit_code = lab.kill_mid_way("rsync", enough=size // 2, number=number)
        assert exit_code in (-number, 3)
        if number == signal.SIGTERM:
            assert status_of(job).endswith("todo")
        assert max(lab.hidden_sizes().values()) >= size // 3  # it is there to resume from
        before = proxy.passed_bytes
        assert lab.transfer("rsync").succeeded == 1, lab.told()
        again = proxy.passed_bytes - before
    lab.assert_done(rsync=2)
    assert again < size * 0.8 + (0 if is_upload else size)  # a source is read for its proof


@pytest.mark.parametrize(
    "lie", [pytest.param(lie, marks=[pytest.mark.wide] * (lie != "half")) for lie in LIES]
)
def test_a_lie_makes_no_receipt(
    sftp: SftpServer, tmp_path: Path, lie: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, sftp, is_upload=True)
    for number in range(5):
        lab.add(f"folder/{number}", b"%d" % number * 1000)
    lab.generate()
    monkeypatch.setenv("PATH", liar(tmp_path / "bin", "rsync", lie))
    assert lab.transfer("rsync", "stream").succeeded == 1, lab.told()
    lab.assert_done(stream=5)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("changed host", "shows another host key"),
        pytest.param("unknown host", "no host key is known", marks=pytest.mark.wide),
        pytest.param("refused key", "accepts none of the keys", marks=pytest.mark.wide),
    ],
)
def test_refusals_are_told_and_the_next_method_is_used(
    sftp: SftpServer, tmp_path: Path, what: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    known = tmp_path / "known"
    known.write_text("")
    new_key(tmp_path / "other")
    kind, key, *_ = (tmp_path / "other.pub").read_text().split()
    if what == "changed host":
        known.write_text(f"[127.0.0.1]:{sftp.ports['shell']} {kind} {key}\n")
    own = SftpStore.ssh_target
    changed = (
        {"identity_file": str(tmp_path / "other"), "config": None}
        if what == "refused key"
        else {"known_hosts": str(known)}
    )
    # The store itself logs in by what is right: only the program is refused.
    monkeypatch.setattr(
        SftpStore, "ssh_target", property(lambda store: replace(own.fget(store), **changed))
    )
    lab = Lab(tmp_path, sftp, is_upload=True)
    lab.add("file", b"data")
    lab.generate()
    assert lab.transfer("rsync", "stream").succeeded == 1
    lab.assert_done(stream=1)
    (line,) = lab.told()[:1]
    assert said in line


def test_without_a_shell_there_the_next_method_is_used(sftp: SftpServer, tmp_path: Path) -> None:
    lab = Lab(tmp_path, sftp, is_upload=True, port=sftp.ports["sftp_only"])
    lab.add("file", b"data")
    lab.generate()
    assert lab.transfer("rsync", "scp").succeeded == 1, lab.told()
    lab.assert_done(scp=1)
    assert "rsync" in lab.told()[0]


def test_it_writes_through_no_link_and_tells_of_what_is_in_the_way(
    sftp: SftpServer, tmp_path: Path
) -> None:
    lab = Lab(tmp_path, sftp, is_upload=True)
    lab.add("folder/file", b"data")
    lab.add("other/file", b"data")
    lab.generate()
    (lab.out / "item").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (lab.out / "item/folder").symlink_to(tmp_path / "elsewhere")
    assert lab.transfer("rsync").succeeded == 0
    assert not [*(tmp_path / "elsewhere").iterdir()]
    assert (lab.out / "item/other/file").read_bytes() == b"data"
    assert "Links below a destination" in lab.told()[0]
    assert not [*lab.left_behind()]


def test_another_users_folder_in_place_of_the_hidden_one_is_refused(
    sftp: SftpServer, tmp_path: Path
) -> None:
    lab = Lab(tmp_path, sftp, is_upload=False)
    lab.add("file", b"data")
    lab.generate()
    store = StoreRegistry({}).open(str(lab.out / "item"), "destination", owner="x")
    (lab.out / "item").mkdir(parents=True)
    os.makedirs(store.url_of(store.incoming_for("file")), mode=0o777)
    with pytest.raises(Exception, match="only this user may enter"):
        store.make_incoming(store.incoming_for("file"))


@pytest.mark.wide
@pytest.mark.parametrize("is_upload", [True, False])
def test_five_thousand_files(sftp: SftpServer, tmp_path: Path, is_upload: bool) -> None:
    lab = Lab(tmp_path, sftp, is_upload=is_upload)
    for number in range(5000):
        lab.add(f"{number // 100}/{number}", b"%d" % number)
    lab.generate()
    assert lab.transfer("rsync").succeeded == 1, lab.told()
    lab.assert_done(rsync=5000)


def test_what_it_can_not_do_is_told(sftp: SftpServer, tmp_path: Path) -> None:
    stores = StoreRegistry({"sftp": sftp.settings()})
    there = stores.open(f"sftp://{sftp.authority()}{tmp_path}", "source")
    here = stores.open(str(tmp_path), "destination")
    also_there = stores.open(f"sftp://{sftp.authority()}{tmp_path}/x", "destination")
    method = Rsync()
    assert method.available(there, here) is None
    assert "both sides are on SSH servers" in str(method.available(there, also_there))
    assert "neither side" in str(method.available(here, here))
    assert "--files-from=-" in method.explain(there, here)


def test_names_in_its_output() -> None:
    assert _name_of(r"a\#012b") == "a\nb"
    assert _name_of(r"\#134#101") == r"\#101"
    assert _name_of(r"back\slash") == r"back\slash"
    assert _name_of(r"\#303\#251\#377") == "é\udcff"
    assert _name_of("é\udcff") == "é\udcff"


@pytest.mark.parametrize(
    "line",
    [
        "bash: line 1: rsync: command not found",
        "sh: 1: rsync: not found",
        "zsh:1: command not found: rsync",
        "rsync: Command not found.",
    ],
)
def test_a_server_without_rsync_is_told(line: str) -> None:
    error = failure_over_ssh([line, "rsync error: code 127"], "it failed", "lab", "rsync")
    assert str(error).startswith("rsync isn't installed on lab (")
    other = failure_over_ssh(["rsync: [sender] link_stat failed"], "it failed", "lab", "rsync")
    assert str(other) == "it failed"


@pytest.mark.parametrize(
    ("exit_code", "told"),
    [
        (3, "exit code 3 (error selecting input or output files or folders): it gave no reason"),
        (10, "exit code 10 (error in socket I/O): it gave no reason"),
        (11, "exit code 11 (error in file I/O, such as on a full disk): it gave no reason"),
        (12, "exit code 12 (error in rsync protocol data stream): it gave no reason"),
        (20, "exit code 20 (received SIGINT, SIGTERM or SIGHUP): it gave no reason"),
        (23, "exit code 23 (partial transfer due to error): it gave no reason"),
        (30, "exit code 30 (timeout in data send/receive): it gave no reason"),
        (99, "exit code 99: it gave no reason"),
        (137, "exit code 137 (killed by SIGKILL): it gave no reason"),
        (255, "exit code 255 (ssh has failed or lost its connection): it gave no reason"),
    ],
)
def test_an_exit_code_without_a_message_is_told_by_its_meaning(exit_code: int, told: str) -> None:
    assert failure_by(exit_code, "") == f"rsync ended with {told}"
    assert failure_by(exit_code, "why").endswith(": why")


#: What rsync prints of a file if the message of the one at the server is lost.
SILENT = r"""#!/bin/sh
[ "$1" = --version ] && { echo "rsync  version 3.2.7  protocol version 31"; exit; }
printf '>file\n         32,768   0%%    0.00kB/s    0:00:00  \r'
printf '      6,291,456 100%%   24.36MB/s    0:00:00 (xfr#1, to-chk=0/2)\n'
"""


@pytest.mark.parametrize(
    ("end", "told", "runs"),
    [
        ("exit 11", "exit code 11 (error in file I/O, such as on a full disk)", 1),
        ("exit 12", "exit code 12 (error in rsync protocol data stream)", 3),
        ("exit 23", "exit code 23 (partial transfer due to error)", 1),
        ("kill -9 $$", "exit code 137 (killed by SIGKILL)", 1),
    ],
)
def test_progress_is_never_told_as_the_reason(
    sftp: SftpServer,
    tmp_path: Path,
    end: str,
    told: str,
    runs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    lab = Lab(tmp_path, sftp, is_upload=True)
    lab.add("file", b"data")
    lab.generate()
    program = tmp_path / "bin/rsync"
    program.parent.mkdir()
    program.write_text(SILENT + end + "\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    assert lab.transfer("rsync", "stream").succeeded == 1
    lab.assert_done(stream=1)
    assert f'reason="rsync ended with {told}: it gave no reason"' in lab.told()[0]
    log = (lab.joblist / "logs/item.1.rsync.log").read_text()
    assert log.count("100%") == runs  # a connection that has ended is tried again


@pytest.mark.wide
def test_the_bandwidth_is_kept_and_changed_while_it_runs(
    sftp: SftpServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = Lab(tmp_path, sftp, is_upload=True)
    lab.add("large", random.Random(0).randbytes(48 * MEBIBYTE))
    lab.generate()
    asked: list[float] = []

    def bandwidth() -> float | None:
        asked.append(time.monotonic())
        return 2e6 if len(asked) < 4 else None  # three answers: 10 s or more at 2 MB/s

    run = Rsync.run
    monkeypatch.setattr(
        Rsync,
        "run",
        lambda method, job, files, context: run(
            method, job, files, replace(context, bandwidth=bandwidth)
        ),
    )
    assert lab.transfer("rsync").succeeded == 1, lab.told()
    lab.assert_done(rsync=1)
    log = (lab.joblist / "logs/item.1.rsync.log").read_text()
    assert "another bandwidth is wanted" in log
    runs = [line for line in log.splitlines() if line.startswith("$ ")]
    assert ["--bwlimit=1953" in line for line in runs] == [True, False]
    # The first run has sent what its time allows, within the 5 % that are asked for.
    shown = [line for line in log.partition("[exit code")[0].splitlines() if "%" in line]
    sent = int("".join(filter(str.isdigit, shown[-1].split()[0])))
    assert sent <= 2e6 * (asked[3] - asked[0]) * 1.05
