"""Tokens that expire while workers are busy, with real servers and real commands.

A token is valid for a number of requests, so that a job sees several lifetimes at any speed.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.commands import assert_one_line_error, finish, run, run_ok, start, wait_for
from tests.credentials.authority import ACCOUNT, TOKEN, Authority, minting_script
from tests.faults.proxy import Answer, Fault, Forward, Proxy, Request, proxy_before
from tests.faults.worlds import PART_BYTES, Bucket, World, make_joblist
from tests.servers.s3 import MOTO_PAGE_SIZE, S3Server
from tests.trees import contents, events, statuses, write

ROLE = "arn:aws:iam::123456789012:role/uploader"
PROVIDERS = ("process", "assume-role", "access-grants")
PARTS = 4


@dataclass(frozen=True, slots=True)
class Plates:
    """A world whose destination requires tokens, and the authority that issues them."""

    world: World
    authority: Authority
    minted: Path

    @property
    def given(self) -> int:
        """How often credentials were given."""
        return len(self.authority.asked) or int((self.minted / "count").read_text())

    def transfer(self, *more: object) -> None:
        done = run("transfer-worker", "-i", self.world.joblist, *more, env=self.world.environment)
        assert (done.exit_code, done.stderr) == (0, ""), done

    def assert_nothing_failed(self) -> None:
        for jobfile in self.world.joblist.glob("*.txt"):
            for word in ("failed", "error", "handed-back"):
                assert events(jobfile, word) == [], jobfile.read_text()

    def renewals(self) -> int:
        """How many renewals the logs have. Each job's last line counts as many as it logged."""
        found = 0
        for jobfile in self.world.joblist.glob("*.txt"):
            logged = events(jobfile, "credentials-renewed")
            for line in logged:
                assert re.search(r" provider=\S+ key=ESTS expires=2999-11-20T14:31:00Z\b", line)
            (success,) = events(jobfile, "success")
            told = re.search(r" renewals=(\d+)", success)
            assert int(told[1] if told else 0) == len(logged)
            found += len(logged)
        return found


def settings_of(provider: str, minted: Path) -> dict[str, Any]:
    script = minting_script(minted)
    return {
        "process": {"provider": "process", "command": [str(script), "{url}"]},
        "assume-role": {"provider": "assume-role", "role_arn": ROLE},
        "access-grants": {"provider": "access-grants", "account_id": ACCOUNT},
    }[provider]


def make_small(root: Path, jobs: int, files: int) -> Path:
    for job in range(jobs):
        for number in range(files):
            write(root / f"plate{job:03d}" / "a b" / f"{number}.bin", f"{job} {number}".encode())
    return root


def make_large(root: Path) -> Path:
    data = bytes(range(256)) * 4096
    large = b"".join(number.to_bytes(4) + data for number in range(PARTS * PART_BYTES // 2**20))
    write(root / "plate000" / "large.bin", large[: PARTS * PART_BYTES - 1])
    return root


@contextlib.contextmanager
def plates(
    folder: Path,
    server: S3Server,
    source: Path,
    provider: str,
    *,
    uses: int,
    threads: int,
    joblist: str = "list",
    is_late: bool = False,
) -> Iterator[Plates]:
    """Plates for a bucket whose server requires tokens, each valid for ``uses`` requests."""
    bucket, minted = Bucket(server, server.new_bucket()), folder / "minted"
    credentials = {"destination": settings_of(provider, minted)}
    path = make_joblist(
        folder / joblist, source, bucket.url, credentials=credentials, threads=threads
    )
    authority = Authority(uses=uses, is_late=is_late)
    with proxy_before(server.endpoint_url, *authority.faults()) as proxy:
        environment = {**server.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        yield Plates(World(source, path, bucket, environment, proxy), authority, minted)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_plate_of_small_files_outlasts_its_tokens(
    tmp_path: Path, rclone_s3: S3Server, provider: str
) -> None:
    source = make_small(tmp_path / "source", 1, 60)
    with plates(tmp_path, rclone_s3, source, provider, uses=16, threads=4) as found:
        found.transfer()
        found.world.assert_perfect()
        found.assert_nothing_failed()
        assert found.authority.renewals >= 3
        assert found.renewals() == found.authority.renewals == found.given - 1


@pytest.mark.parametrize(
    "provider", ["process", *(pytest.param(each, marks=pytest.mark.wide) for each in PROVIDERS[1:])]
)
def test_parts_outlast_their_tokens_and_none_is_lost(
    tmp_path: Path, rclone_s3: S3Server, provider: str
) -> None:
    source = make_large(tmp_path / "source")
    with plates(tmp_path, rclone_s3, source, provider, uses=2, threads=1) as found:
        found.transfer()
        found.world.assert_perfect()
        found.assert_nothing_failed()
        assert found.authority.renewals >= 3
        assert found.renewals() == found.authority.renewals == found.given - 1
        assert found.world.proxy is not None
        # A part whose token had expired was refused, and sent once more; no other was.
        assert found.world.proxy.uploaded <= found.world.data_bytes + (
            found.authority.refused * PART_BYTES
        )


@pytest.mark.parametrize("provider", PROVIDERS)
def test_each_job_is_told_whose_credentials_it_has_its_own_where_they_are_for_one_prefix(
    tmp_path: Path, rclone_s3: S3Server, provider: str
) -> None:
    source = make_small(tmp_path / "source", 3, 15)
    with plates(tmp_path, rclone_s3, source, provider, uses=10, threads=2) as found:
        found.transfer()
        found.world.assert_perfect()
        found.assert_nothing_failed()
        for jobfile in found.world.joblist.glob("*.txt"):
            (line,) = events(jobfile, "credentials")
            assert f" provider={provider} key=ESTS expires=2999-11-20T14:31:00Z" in line
        assert found.renewals() >= 3
        begun = 1 if provider == "assume-role" else 3  # a role's are valid for any job
        assert found.given == begun + found.renewals()
        if provider == "access-grants":
            # A token that is used outside its target is refused by the authority.
            targets = {asked["target"] for asked in found.authority.asked}
            url = found.world.destination.url
            assert targets == {f"{url}/plate{number:03d}/*" for number in range(3)}
            assert {asked["permission"] for asked in found.authority.asked} == {"READWRITE"}
        if provider == "assume-role":
            sessions = {asked["RoleSessionName"] for asked in found.authority.asked}
            assert sessions == {f"jobtool-plate{number:03d}" for number in range(3)}


def test_no_credentials_are_fetched_for_a_refusal_that_comes_after_the_renewal(
    tmp_path: Path, rclone_s3: S3Server
) -> None:
    source = make_small(tmp_path / "source", 3, 15)
    with plates(
        tmp_path, rclone_s3, source, "assume-role", uses=20, threads=2, is_late=True
    ) as found:
        found.transfer()
        found.world.assert_perfect()
        found.assert_nothing_failed()
        assert found.renewals() == found.given - 1 >= 2


def test_a_request_that_comes_too_late_for_each_of_three_tokens_is_made_with_the_fourth(
    tmp_path: Path, rclone_s3: S3Server
) -> None:
    source = make_small(tmp_path / "source", 1, 60)
    with plates(tmp_path, rclone_s3, source, "assume-role", uses=1000, threads=2) as found:
        authority, proxy = found.authority, found.world.proxy
        assert proxy is not None
        tokens = [f"{TOKEN}-{number}" for number in (1, 2, 3)]

        def token_of(request: Request) -> str:
            return request.headers.get("x-amz-security-token", "")

        def is_paced(request: Request) -> bool:
            return request.is_put and token_of(request) in tokens

        def is_late(request: Request) -> bool:
            return is_paced(request) and request.path.endswith("/1.bin")

        def refuse(request: Request, forward: Forward) -> Answer:
            # By then the worker knows that others have been accepted with the same token.
            wait_for(lambda: authority.accepted[token_of(request)] > 3)
            return authority.refuse_expired(request, forward)

        def is_ahead(request: Request) -> bool:
            return is_paced(request) and authority.accepted[token_of(request)] > 6

        def hold(request: Request, forward: Forward) -> Answer:
            # The other thread has files left for the tokens to come.
            wait_for(lambda: len(authority.asked) > tokens.index(token_of(request)) + 1)
            return forward(request)

        late = Fault(is_late, refuse, times=len(tokens))
        proxy.faults[:0] = [late, Fault(is_ahead, hold, times=60)]
        found.transfer()
        found.world.assert_perfect()
        found.assert_nothing_failed()
        assert late.hits == len(tokens)
        assert found.renewals() == len(authority.asked) - 1 == len(tokens)


def test_a_killed_worker_is_followed_across_tokens(tmp_path: Path, rclone_s3: S3Server) -> None:
    source = make_large(tmp_path / "source")
    with plates(tmp_path, rclone_s3, source, "process", uses=2, threads=1) as found:
        world, proxy = found.world, found.world.proxy
        assert proxy is not None
        worker = start("transfer-worker", "-i", world.joblist, env=world.environment)
        proxy.wait_for(lambda: proxy.uploaded > 2 * PART_BYTES)
        worker.kill()
        finish(worker)
        proxy.wait_until_idle()
        safe = world.assert_honest()
        before, refused = proxy.uploaded, found.authority.refused
        found.transfer()
        world.assert_perfect()
        found.assert_nothing_failed()
        refused = found.authority.refused - refused
        assert refused >= 1
        assert proxy.uploaded - before <= world.data_bytes - safe + refused * PART_BYTES


@pytest.mark.parametrize("deep", [(), ("--deep",)])
def test_verify_reads_on_across_tokens(
    tmp_path: Path, rclone_s3: S3Server, deep: tuple[str, ...]
) -> None:
    source = make_small(tmp_path / "source", 2, 30)
    with plates(tmp_path, rclone_s3, source, "access-grants", uses=12, threads=2) as found:
        found.transfer()
        refused = found.authority.refused
        if not deep:
            found.authority.uses = 1
        command = ["jobtool", "verify", found.world.joblist, "--threads", 2, *deep]
        done = run_ok(*command, env=found.world.environment)
        assert "Verified 60 file(s)" in done.stdout
        assert "0 missing, 0 changed, 0 extra." in done.stdout
        assert found.authority.refused > refused


def make_keys(server: S3Server, count: int) -> str:
    """Make a bucket of tiny objects; return its name."""
    name = server.new_bucket()

    def put(number: int) -> None:
        server.client.put_object(Bucket=name, Key=f"plate/{number:04d}", Body=b"%d" % number)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(put, range(count)))
    return name


def test_a_listing_whose_token_expires_between_two_pages_is_whole(
    tmp_path: Path, moto_s3: S3Server
) -> None:
    count = MOTO_PAGE_SIZE + 3
    name = make_keys(moto_s3, count)
    script = minting_script(tmp_path / "minted")
    path = make_joblist(
        tmp_path / "list",
        write(tmp_path / "source" / "plate" / "nothing").parent.parent,
        str(tmp_path / "copies"),
        credentials={"source": {"provider": "process", "command": str(script)}},
        threads=4,
    )
    jobfile = path / "plate.txt"
    text = jobfile.read_text()
    jobfile.write_text(re.sub("(?m)^source: .*$", f"source: s3://{name}/plate", text))

    def is_over(request: Request) -> bool:
        is_second_page = "continuation-token" in request.query
        return is_second_page and request.headers["x-amz-security-token"] == f"{TOKEN}-1"

    authority = Authority(is_over=is_over)
    with proxy_before(moto_s3.endpoint_url, *authority.faults()) as proxy:
        environment = {**moto_s3.environment, "AWS_ENDPOINT_URL": proxy.endpoint_url}
        run_ok("transfer-worker", "-i", path, "-v", 0, env=environment)
    assert authority.refused >= 1  # the page, and the files that went meanwhile
    assert len(events(jobfile, "credentials-renewed")) == 1
    assert contents(tmp_path / "copies" / "plate") == {
        f"{number:04d}": b"%d" % number for number in range(count)
    }


def test_a_token_that_is_refused_again_at_once_hands_the_job_back(
    tmp_path: Path, rclone_s3: S3Server
) -> None:
    source = make_small(tmp_path / "source", 2, 2)
    with plates(tmp_path, rclone_s3, source, "process", uses=0, threads=1) as found:
        done = run("transfer-worker", "-i", found.world.joblist, env=found.world.environment)
        assert_one_line_error(done, 4, "ExpiredToken", "log in again")
        assert TOKEN not in done.stdout + done.stderr
        # Whether the destination is empty, its listing, which it can do without, and a file: each
        # was tried twice.
        assert (found.authority.refused, found.given) == (6, 4)
        assert set(statuses(found.world.joblist).values()) == {"todo"}


def test_a_provider_that_breaks_leaves_what_is_not_done_to_do(
    tmp_path: Path, rclone_s3: S3Server
) -> None:
    jobs, done_before = 20, 3
    source = make_small(tmp_path / "source", jobs, 2)
    bucket = Bucket(rclone_s3, rclone_s3.new_bucket())
    minted = tmp_path / "minted"
    script = minting_script(minted, works_times=done_before)
    credentials = {"destination": {"provider": "process", "command": f"{script} {{job}}"}}
    joblist = make_joblist(tmp_path / "list", source, bucket.url, credentials=credentials)
    world = World(source, joblist, bucket, rclone_s3.environment)
    done = run("transfer-worker", "-i", joblist, env=world.environment)
    assert_one_line_error(done, 4, str(script), "exit code 7")
    names = [f"plate{number:03d}" for number in range(jobs)]
    wanted = ["success"] * done_before + ["todo"] * (jobs - done_before)
    assert statuses(joblist) == dict(zip(names, wanted, strict=True))
    reasons = [line for path in joblist.glob("*.txt") for line in events(path, "handed-back")]
    assert len(reasons) == 3
    assert all(' reason="no credentials"' in line for line in reasons)
    world.assert_honest()
    (minted / "repaired").touch()
    run_ok("transfer-worker", "-i", joblist, "-v", 0, env=world.environment)
    world.assert_perfect()


def test_a_provider_that_fails_once_is_asked_again(tmp_path: Path, rclone_s3: S3Server) -> None:
    source = make_small(tmp_path / "source", 3, 2)
    with plates(tmp_path, rclone_s3, source, "assume-role", uses=1000, threads=1) as found:
        found.authority.refusal = (400, "Throttling", "Rate exceeded")
        worker = start("transfer-worker", "-i", found.world.joblist, env=found.world.environment)
        proxy: Proxy | None = found.world.proxy
        assert proxy is not None
        proxy.wait_for(lambda: any(events(p, "handed-back") for p in jobfiles(found)))
        found.authority.refusal = None
        assert finish(worker).exit_code == 0
        found.world.assert_perfect()


def jobfiles(found: Plates) -> list[Path]:
    return [*found.world.joblist.glob("*.txt")]
