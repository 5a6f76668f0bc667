"""If a job will outlast credentials that can't be renewed, that is reported before they end."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from azure.storage.blob import generate_container_sas

from tests.commands import finish, run_ok, start
from tests.faults.proxy import Answer, Fault, Forward, Request, proxy_before
from tests.servers.azure import ACCOUNT, KEY
from tests.trees import events, make_items


def slowly(request: Request, forward: Forward) -> Answer:
    time.sleep(0.5)
    return forward(request)


@pytest.mark.wide
def test_a_job_that_outlasts_its_sas_token_is_announced(tmp_path: Path, azurite) -> None:
    container = azurite.new_container()
    make_items(tmp_path / "in", 1, files=400)
    ends_at = datetime.now(UTC) + timedelta(seconds=100)
    fault = Fault(lambda request: request.is_put, slowly, times=10**9)
    with proxy_before(azurite.url, fault) as proxy:
        run_ok(
            *("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", "-l", "tree"),
            *("-d", f"az://{container}", "--set", f"az.account_url={proxy.endpoint_url}/{ACCOUNT}"),
        )
        (jobfile,) = (tmp_path / "list").glob("*.txt")
        token = generate_container_sas(ACCOUNT, container, KEY, permission="racwdl", expiry=ends_at)
        env = {"AZURE_STORAGE_SAS_TOKEN": token}
        worker = start("transfer-worker", "-i", tmp_path / "list", "--threads", 1, env=env)
        deadline = time.monotonic() + 60
        while not (told := events(jobfile, "credentials-too-short")):
            assert time.monotonic() < deadline, jobfile.read_text()
            time.sleep(0.1)
        worker.terminate()
        done = finish(worker)
    assert done.exit_code == 3
    assert f"provider=default key=SAS-token expires={ends_at:%Y-%m-%dT%H:%M:%SZ}" in told[0]
    assert "can't be renewed; it will be handed back then" in done.stdout


def test_a_job_that_outlasts_its_credentials_is_announced(tmp_path: Path, rclone_s3) -> None:
    make_items(tmp_path / "in", 1, files=400)
    run_ok(
        *("generate-joblist", "-i", tmp_path / "in", "-o", tmp_path / "list", "-l", "tree"),
        *("-d", f"s3://{rclone_s3.new_bucket()}", "--set", "credentials.provider=environment"),
    )
    (jobfile,) = (tmp_path / "list").glob("*.txt")
    ends_at = datetime.now(UTC) + timedelta(seconds=100)
    fault = Fault(lambda request: request.is_put, slowly, times=10**9)
    with proxy_before(rclone_s3.endpoint_url, fault) as proxy:
        env = {
            **rclone_s3.environment,
            "AWS_ENDPOINT_URL": proxy.endpoint_url,
            "AWS_CREDENTIAL_EXPIRATION": ends_at.isoformat(),
        }
        worker = start("transfer-worker", "-i", tmp_path / "list", "--threads", 1, env=env)
        deadline = time.monotonic() + 60
        while not (told := events(jobfile, "credentials-too-short")):
            assert time.monotonic() < deadline, jobfile.read_text()
            time.sleep(0.1)
        worker.terminate()
        done = finish(worker)
    assert done.exit_code == 3
    assert " provider=environment " in told[0]
    assert f"expires={ends_at:%Y-%m-%dT%H:%M:%SZ}" in told[0]
    assert "can't be renewed; it will be handed back then" in done.stdout
