"""A helper gives the files of a batch the forms that the job's holder would give them."""

from __future__ import annotations

import pytest
import zstandard

import jobtool
from jobtool.jobs.claim import Claims
from jobtool.jobs.claimpolicy import ClaimPolicy
from jobtool.jobs.joblist import JobList
from jobtool.jobs.records import Receipt
from jobtool.sharing.batches import Batches
from jobtool.sharing.helper import Helper
from jobtool.sharing.holder import WorkSharing
from jobtool.sharing.portions import WORTH_FILES
from jobtool.transfer.copy import Copier
from jobtool.transfer.filequeue import FileQueue
from jobtool.transfer.ledger import Ledger
from jobtool.transfer.partqueue import PartQueues
from jobtool.transfer.planning import open_plan
from jobtool.transfer.retry import Retry
from jobtool.transfer.stores_of import stores_of
from jobtool.worker.options import ResolvedOptions
from tests.trees import write

TEXT = b"text " * 1000
FILES = {"a": TEXT, "a.zst": TEXT, "b": TEXT, "few": b"few"}


@pytest.mark.parametrize("theirs", ["zstd", "none"])
def test_a_helper_compresses_as_the_holder_would_or_not_at_all(tmp_path, theirs) -> None:
    for path, data in FILES.items():
        write(tmp_path / "in" / "job" / path, data)
    for number in range(WORTH_FILES):
        write(tmp_path / "in" / "job" / f"more{number}", TEXT)
    write(tmp_path / "out" / "job" / "b.zst", b"another program's")
    jobtool.generate_joblist(
        tmp_path / "in", tmp_path / "list", destination=tmp_path / "out", layout="tree"
    )
    joblist = JobList.open(str(tmp_path / "list"))
    (job_id,) = joblist.job_ids()
    job, _ = joblist.load(job_id)
    stores = stores_of(joblist)

    plan, listing = open_plan(job, stores)
    assert listing is not None
    listing.run()
    ledger = Ledger(plan, joblist.journal_of(job_id), compression="zstd")
    ledger.compare(Retry.never())
    claims = Claims(joblist.claims_path, ClaimPolicy(kind="lock"))
    batches = Batches(joblist.blocks_path_of(job_id), claims)
    batches.offer("helper")
    batches.look()
    policies = ResolvedOptions(compression="zstd").policies
    sharing = WorkSharing(batches, ledger, policies=policies, threads=1000, on_return=print)
    sharing.consume(FileQueue([*range(len(plan))]), PartQueues(), may_take=True)
    assert sharing.has_files

    helper = Helper(
        joblist,
        claims,
        stores,
        ResolvedOptions(compression=theirs),
        name="helper",
        worker="w",
        on_helped=lambda *helped: None,
        on_unkept=print,
    )
    helper.offer([job_id])
    copier = Copier(threads=2)
    has_helped = helper.help(copier)
    copier.close()
    assert has_helped == (theirs == "zstd"), "a worker with another setting doesn't help"
    if not has_helped:
        return
    batches.look()
    (batch,) = sharing.returned(reclaim=False)
    found = [record for record in batch.records() if isinstance(record, Receipt)]
    stored = {one.dst_path.removeprefix(f"{tmp_path}/out/job/"): one for one in found}
    assert {"a", "a.zst.zst", "b.zst", "few", "more0.zst"} <= stored.keys()
    assert "a.zst" not in stored
    assert len(stored) == len(plan)
    there = (tmp_path / "out" / "job" / "b.zst").read_bytes()
    assert zstandard.ZstdDecompressor().stream_reader(there).read() == TEXT
    ledger.absorb(batch.records())
    assert ledger.files_proven == len(plan)
