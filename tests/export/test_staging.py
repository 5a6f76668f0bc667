"""The staging folder of two workers, of which the first was taken for dead and wakes up."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa
import pytest

from jobtool.errors import ClaimLostError
from jobtool.export.formats.by_name import format_of
from jobtool.export.staging import Staging
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimedjob import ClaimedJob
from jobtool.jobs.joblist import JobList
from jobtool.steps.step import StepContext
from jobtool.stop import Stop
from jobtool.stores.local import LocalStore
from jobtool.transfer.retry import Retry
from tests.export.worlds import Export, rows_of

SCHEMA = pa.schema([("id", pa.int64())])


class Context(StepContext):
    """A context whose stores are folders of this machine."""

    def source(self, url: str) -> LocalStore:  # type: ignore[override]
        return LocalStore(url)


def claim(joblist: JobList) -> ClaimedJob:
    claimed = ClaimedJob.acquire(joblist, Claims.of(joblist), "rows", lambda: datetime.now(UTC))
    assert claimed is not None
    return claimed


def staging_of(joblist: JobList, claimed: ClaimedJob) -> Staging:
    context = Context(
        stores=None,  # type: ignore[arg-type]
        stop=Stop(),
        retry=Retry(tries=1),
        emit=lambda event: None,
        owner="owner",
        receipts=lambda: iter(()),
        log=lambda event, **values: None,
        require_held=claimed.claim.require_held,
    )
    assert joblist.settings.export is not None
    return Staging(joblist, "rows", joblist.settings.export, context)


def test_a_worker_that_lost_its_job_leaves_the_files_of_the_next_one(tmp_path: Path) -> None:
    export = Export(tmp_path)
    export.write(rows_of(10))
    export.generate()
    toml = export.joblist / "joblist.toml"
    toml.write_text("claims = 'lease'\n" + toml.read_text())
    joblist = JobList.open(str(export.joblist))
    woken = claim(joblist)
    first = staging_of(joblist, woken)
    first.prepare()
    for marker in (export.joblist / ".claims").rglob("rows*.lease"):
        marker.unlink()  # as the next worker does with that of a dead one
    with claim(joblist) as following:
        second = staging_of(joblist, following)
        second.prepare()
        file = Path(second.folder) / "part-000001.csv"
        file.write_text("of the second")
        for forbidden in (first.prepare, lambda: first.stage(file.name)):
            with pytest.raises(ClaimLostError):
                forbidden()
        with pytest.raises(ClaimLostError):
            first.remove(file.name)
        first.close()
        assert file.read_text() == "of the second"
        second.close()
    assert not export.staging.exists()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_file_under_way_is_never_shared_by_two_writers(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "part-000001"
    first = format_of(kind).open(str(path), SCHEMA)
    with pytest.raises(FileExistsError):
        format_of(kind).open(str(path), SCHEMA)
    path.unlink()  # the next worker clears the folder, and makes its own
    second = format_of(kind).open(str(path), SCHEMA)
    second.write(pa.record_batch([[1]], schema=SCHEMA))
    second.close()
    before = path.read_bytes()
    first.abort()
    assert path.read_bytes() == before
