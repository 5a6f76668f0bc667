"""A real Slurm of one node on loopback: munged, slurmctld and slurmd, in a folder of their own.

``python -m tests.cluster.slurm`` starts one, and a shell whose ``sbatch`` talks to it.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.commands import environment, unused_port
from tests.needs import need, search_path

_LIFETIME_SECONDS = 900  # a daemon that outlives its test run ends itself after this
_START_SECONDS = 60
_CLIENT_SECONDS = 60
_POLL_SECONDS = 0.2

#: Slurm counts 8 processors, however many there are: two elements of two workers run at once. The
#: node isn't named as this host is, so that mpirun takes it for another one and starts its daemon
#: there by srun, as in jobs of several nodes.
_CONFIGURATION = """\
ClusterName=tests
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller_port}
SlurmdPort={node_port}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
CredType=cred/munge
# A requeued job may not start before the credential of its last run has expired (120 s by default).
AuthInfo=socket={folder}/munge/socket,cred_expire=10
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SwitchType=switch/none
MpiDefault=none
MailProg=/bin/true
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=2,bf_interval=2,batch_sched_delay=0
ReturnToService=2
KillWait=10
SlurmdParameters=config_overrides
NodeName=node NodeHostname={host} NodeAddr=127.0.0.1 CPUs=8 State=UNKNOWN
PartitionName=all Nodes=node Default=YES MaxTime=INFINITE State=UP
"""


@dataclass(frozen=True, kw_only=True)
class Slurm:
    """A running cluster. ``folder`` holds its logs, ``environment`` what its clients need."""

    folder: Path
    environment: Mapping[str, str]

    def client(self, *command: object, cwd: Path | None = None) -> str:
        """Run a client such as ``squeue``; return what it printed."""
        done = subprocess.run(
            [str(part) for part in command],
            capture_output=True,
            text=True,
            env=dict(self.environment),
            cwd=cwd,
            timeout=_CLIENT_SECONDS,
        )
        assert done.returncode == 0, (command, done.stdout, done.stderr)
        return done.stdout

    def submit(self, script: Path) -> str:
        """Submit a script from its own folder; return the ID of the job or the whole array."""
        return self.client("sbatch", "--parsable", script, cwd=script.parent).strip()

    def states(self, job_id: str) -> list[dict[str, str]]:
        """What Slurm knows of a job, or of each element of an array."""
        told = self.client("scontrol", "--oneliner", "show", "job", job_id)
        return [dict(re.findall(r"(\S+?)=(\S*)", line)) for line in told.splitlines() if line]

    def wait_until_ended(self, job_id: str, *, seconds: float) -> list[dict[str, str]]:
        """Return the states of a job when it is neither running nor waiting to run."""
        deadline = time.monotonic() + seconds
        while self.client("squeue", "--noheader", f"--jobs={job_id}").strip():
            assert time.monotonic() < deadline, self.client("squeue") + self.logs()
            time.sleep(_POLL_SECONDS)
        return self.states(job_id)

    def logs(self) -> str:
        """The ends of the daemons' logs."""
        ends = []
        for name in ("slurmctld", "slurmd"):
            path = self.folder / f"{name}.log"
            lines = path.read_text().splitlines() if path.exists() else ["none"]
            ends.append("\n".join([f"{name}:", *lines[-30:]]))
        return "\n".join(ends)


@contextlib.contextmanager
def slurm_cluster(extra: Mapping[str, str] | None = None) -> Iterator[Slurm]:
    """Run a cluster; ``extra`` is added to the environment of its clients, and so of its jobs.

    Skips the test without the packages, or fails it with ``CI=true``.
    """
    programs = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scontrol", "scancel", "sinfo")
    need(*programs, packages="slurm-wlm munge")
    with contextlib.ExitStack() as stack:
        # Below /tmp, since the path of a socket must be short.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="slurm-")))
        for name in ("munge", "state", "spool"):
            (folder / name).mkdir()
        key = folder / "munge" / "key"
        key.write_bytes(secrets.token_bytes(128))
        key.chmod(0o600)
        configuration = folder / "slurm.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                folder=folder,
                host=socket.gethostname().partition(".")[0],
                user=pwd.getpwuid(os.geteuid()).pw_name,
                controller_port=unused_port(),
                node_port=unused_port(),
            )
        )
        clients = environment({**(extra or {}), "SLURM_CONF": str(configuration)})
        cluster = Slurm(folder=folder, environment=clients)
        stack.callback(_kill_what_is_left, configuration)
        daemons = {**clients, "PATH": search_path()}
        munge = {name: f"{folder}/munge/{name}" for name in ("socket", "pid", "log", "seed")}
        _start(
            stack,
            folder,
            daemons,
            *("munged", "--foreground", "--force", "--num-threads=2"),  # --force: below /tmp
            *(f"--key-file={key}", f"--socket={munge['socket']}", f"--pid-file={munge['pid']}"),
            *(f"--log-file={munge['log']}", f"--seed-file={munge['seed']}"),
        )
        _wait_for(lambda: os.path.exists(munge["socket"]), cluster)
        _start(stack, folder, daemons, "slurmctld", "-D", "-c")
        _start(stack, folder, daemons, "slurmd", "-D", "-N", "node")
        _wait_for(lambda: "idle" in _told(cluster, "sinfo", "--noheader", "--format=%T"), cluster)
        stack.callback(_cancel_all, cluster)
        yield cluster


def _start(
    stack: contextlib.ExitStack, folder: Path, env: Mapping[str, str], *command: str
) -> None:
    """Start a daemon in the foreground, to be stopped when ``stack`` is closed."""
    name = command[0]
    output = stack.enter_context((folder / f"{name}.out").open("wb"))
    process = subprocess.Popen(
        ["timeout", str(_LIFETIME_SECONDS), *command],
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output,
        env=dict(env),
        cwd=folder,
    )
    stack.callback(_stop, process)


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _wait_for(is_up: Callable[[], bool], cluster: Slurm) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not is_up():
        outputs = [path.read_text() for path in cluster.folder.glob("*.out")]
        assert time.monotonic() < deadline, "\n".join([*outputs, cluster.logs()])
        time.sleep(_POLL_SECONDS)


def _told(cluster: Slurm, *command: str) -> str:
    """What a client says, or nothing while the controller doesn't answer yet."""
    try:
        return cluster.client(*command)
    except AssertionError:
        return ""


def _cancel_all(cluster: Slurm) -> None:
    """End every job while the daemons that can end it are still running."""
    for job_id in _told(cluster, "squeue", "--noheader", "--format=%A").split():
        _told(cluster, "scancel", "--signal=KILL", "--full", job_id)
        _told(cluster, "scancel", job_id)
    deadline = time.monotonic() + 15
    while _told(cluster, "squeue", "--noheader").strip() and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)


def _kill_what_is_left(configuration: Path) -> None:
    """Kill every process with this cluster in its environment, except this one."""
    mark = os.fsencode(f"SLURM_CONF={configuration}")
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            is_ours = mark in (folder / "environ").read_bytes().split(b"\0")
            if is_ours and int(folder.name) != os.getpid():
                os.kill(int(folder.name), signal.SIGKILL)


def main() -> int:
    """Run a shell beside a cluster."""
    shell = os.environ.get("SHELL") or shutil.which("bash") or "/bin/sh"
    with slurm_cluster() as cluster:
        sys.stderr.write(f"SLURM_CONF={cluster.folder}/slurm.conf; it ends with this shell\n")
        return subprocess.run([shell], env=dict(cluster.environment), check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
