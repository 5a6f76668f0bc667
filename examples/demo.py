"""The main job on real data: plates and partitions to a folder and to S3, by workers under mpirun.

    python examples/demo.py OUT

Makes the data with the libraries that its users use, runs the three commands, checks every byte at
the destinations and opens them with zarr and pyarrow. The S3 server is ``rclone serve s3`` on this
machine.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import shlex
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path

import make_partitions
import make_plates
import pyarrow.dataset
import zarr

BIN = Path(sys.executable).parent
SERVER_START_SECONDS = 30


def main() -> int:
    """Run the demo; return 0 if everything arrived."""
    parser = argparse.ArgumentParser(description="Run jobtool on plates and partitions.")
    parser.add_argument("out", type=Path, help="a folder for everything; made anew each time")
    out = parser.parse_args().out.resolve()
    if out.exists() and not (out / ".demo").exists():
        print(f"{out} exists and was not made by this demo; choose another folder", file=sys.stderr)
        return 2
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    (out / ".demo").touch()
    os.chdir(out)

    heading("Data: segmented plates as OME-Zarr, and partitions of a finished download")
    make_plates.main(["data/plates"])
    make_partitions.main(["data/partitions"])

    heading("Plates to a folder")
    transfer("data/plates/results", "joblist-local", "-d", "copies/plates")
    with s3_server(Path("s3-server"), "demo") as environment:
        heading("Plates to S3")
        transfer(
            "data/plates/results", "joblist-s3", "-d", "s3://demo/plates", environment=environment
        )
        heading("Partitions: images to S3, errors to a folder")
        transfer(
            "data/partitions/images",
            "joblist-partitions",
            "--set",
            "dst_image_folder=s3://demo/images",
            "--set",
            "dst_error_folder=copies/errors",
            environment=environment,
        )
        heading("Is every byte there?")
        check_plates(environment)
    open_copies()
    print("\nEverything arrived.")
    return 0


def heading(text: str) -> None:
    """Print what comes next."""
    print(f"\n── {text} " + "─" * max(0, 76 - len(text)), flush=True)


def run(*command: str, environment: Mapping[str, str] | None = None) -> None:
    """Show a command, run it, and end the demo if it fails."""
    print(f"\n$ {shlex.join(command)}", flush=True)
    program = BIN / command[0]
    subprocess.run(
        [str(program) if program.exists() else command[0], *command[1:]],
        env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **(environment or {})},
        check=True,
    )


def transfer(
    source: str, joblist: str, *options: str, environment: Mapping[str, str] | None = None
) -> None:
    """Run the three commands."""
    run("generate-joblist", "-i", source, "-o", joblist, *options, environment=environment)
    worker = ["transfer-worker", "-i", joblist]
    if (BIN / "mpirun").exists() or shutil.which("mpirun"):
        worker = ["mpirun", "--oversubscribe", "-n", "2", *worker]
    # mpirun asks for these where everything runs as root, as in a container.
    allowed = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}
    run(*worker, environment={**(environment or {}), **allowed})
    run("summarise-jobs", "-i", joblist)


@contextlib.contextmanager
def s3_server(folder: Path, bucket: str) -> Iterator[dict[str, str]]:
    """Serve a folder as S3 on loopback; yield the environment that its clients need."""
    (folder / bucket).mkdir(parents=True)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    key, secret = secrets.token_hex(10), secrets.token_hex(20)
    server = subprocess.Popen(
        [str(BIN / "rclone"), "serve", "s3", "--addr", address, str(folder)],
        env={**os.environ, "RCLONE_AUTH_KEY": f'"{key},{secret}"', "RCLONE_CONFIG": "/dev/null"},
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(f"http://{address}/", server)
        yield {
            "AWS_ENDPOINT_URL": f"http://{address}",
            "AWS_ACCESS_KEY_ID": key,
            "AWS_SECRET_ACCESS_KEY": secret,
            "AWS_DEFAULT_REGION": "us-east-1",
        }
    finally:
        server.terminate()
        server.wait()


def wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    """Return when a server answers; raises ``RuntimeError`` if it ends or doesn't in time."""
    deadline = time.monotonic() + SERVER_START_SECONDS
    while server.poll() is None and time.monotonic() < deadline:
        try:
            urllib.request.urlopen(url, timeout=1)
        except urllib.error.HTTPError:
            return  # it answers, if only to say that we are nobody
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise RuntimeError(f"the S3 server at {url} did not start")


def check_plates(environment: Mapping[str, str]) -> None:
    """Compare both copies with the source, by tools that aren't ours."""
    objects = Path(
        "data/plates/results/aggregated/broad/cellpainting-gallery/cpg0016-jump/source_8",
        "workspace/segmentation/cellpose/objects",
    )
    remote = {
        "RCLONE_CONFIG": "/dev/null",
        "RCLONE_CONFIG_DEMO_TYPE": "s3",
        "RCLONE_CONFIG_DEMO_PROVIDER": "Other",
        "RCLONE_CONFIG_DEMO_ENDPOINT": environment["AWS_ENDPOINT_URL"],
        "RCLONE_CONFIG_DEMO_ACCESS_KEY_ID": environment["AWS_ACCESS_KEY_ID"],
        "RCLONE_CONFIG_DEMO_SECRET_ACCESS_KEY": environment["AWS_SECRET_ACCESS_KEY"],
    }
    unfinished = "A1179999"  # has no zarr, so it was no job
    run("diff", "-r", "-x", unfinished, str(objects), "copies/plates/source_8")
    print("no difference")
    run(
        *("rclone", "check", "--download", "--exclude", f"{unfinished}/**"),
        *(str(objects), "demo:demo/plates/source_8"),
        environment=remote,
    )


def open_copies() -> None:
    """Open what arrived as its users would."""
    heading("Do zarr and pyarrow read the copies?")
    for root in ("copies/plates", "s3-server/demo/plates"):
        plates = sorted(Path(root).glob("*/*/*/*.zarr"))
        for plate in plates:
            group = zarr.open_group(plate, mode="r")
            wells = sum(1 for _ in group.groups())
            print(f"{plate}: zarr format {group.metadata.zarr_format}, {wells} rows of wells")
    images = pyarrow.dataset.dataset("s3-server/demo/images", partitioning="hive")
    errors = pyarrow.dataset.dataset("copies/errors", partitioning="hive")
    print(f"images: {images.count_rows()} rows; errors: {errors.count_rows()} rows")


if __name__ == "__main__":
    raise SystemExit(main())
