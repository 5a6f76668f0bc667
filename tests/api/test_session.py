"""A session as in a notebook, in a process of its own: from the results to the archive's table."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.commands import ROOT, environment
from tests.trees import contents, make_items, statuses

SESSION = """
import json
import os
import sys
from collections import Counter
from pathlib import Path

import jobtool

results, joblist, copies = map(Path, sys.argv[1:])
told = []
progress = []
facts = {}

generated = jobtool.generate_joblist(
    results, joblist, destination=copies, layout="tree", on_event=told.append
)
facts["created"] = generated.created
done = jobtool.transfer_jobs(joblist, max_jobs=2, on_event=told.append)
facts["first"] = [done.succeeded, done.exit_code, done.statuses["todo"]]
done = jobtool.transfer_jobs(
    jobtool.JobList.open(str(joblist)),
    threads=2,
    verify="read-back",
    on_event=told.append,
    on_progress=progress.append,
)
facts["second"] = [done.succeeded, done.exit_code, done.statuses, done.policies.verify]
facts["progress"] = [progress[-1].files_done, progress[-1].files_total]
facts["summary"] = jobtool.summarise_jobs(joblist).json()["files_done"]

(copies / "item000" / "0.bin").unlink()
changed = copies / "item001" / "1.bin"
changed.write_bytes(changed.read_bytes().swapcase()[::-1])
(copies / "item002" / "more.bin").write_bytes(b"more")
found = jobtool.verify_jobs(joblist, deep=True, repair=True, on_event=told.append)
facts["found"] = [[one.job, one.what, os.path.basename(one.path)] for one in found.discrepancies]
facts["verified"] = [found.exit_code, found.counts.files]
facts["put_back"] = [one.job for one in found.put_back]
sent = []
jobtool.transfer_jobs(joblist, on_event=sent.append)
facts["sent"] = sorted(os.path.basename(e.source) for e in sent if e.kind == "file")
(copies / "item002" / "more.bin").unlink()
facts["mended"] = jobtool.verify_jobs(joblist, deep=True).exit_code

facts["retried"] = [e.job for e in jobtool.retry_jobs(joblist, jobs=["item001"]).put_back]
facts["transferred"] = jobtool.transfer_jobs(joblist).succeeded
facts["left"] = [len(jobtool.clean_jobs(joblist, remove=True).leftovers)]
table = jobtool.read_receipts(joblist)
facts["columns"] = {field.name: str(field.type) for field in table.schema}
facts["rows"] = table.num_rows
facts["written"] = jobtool.write_receipts(joblist, joblist.with_suffix(".parquet"))
import pyarrow.parquet
written = pyarrow.parquet.read_table(joblist.with_suffix(".parquet"))
# Parquet has no whole seconds.
facts["same"] = written.to_pylist() == table.to_pylist()
facts["archive"] = jobtool.verify_jobs(joblist.with_suffix(".parquet"), deep=True).exit_code
facts["kinds"] = Counter(event.kind for event in told)
facts["are_events"] = all(isinstance(event, jobtool.Event) for event in told + progress)
print("FACTS", json.dumps(facts))
"""


def test_a_notebook_can_do_it_all_and_nothing_is_printed(tmp_path: Path) -> None:
    results, joblist, copies = (tmp_path / name for name in ("results", "joblist", "copies"))
    make_items(results, 3)
    done = subprocess.run(
        [sys.executable, "-c", SESSION, results, joblist, copies],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env=environment(),
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, ""), done
    assert done.stdout.startswith("FACTS "), done.stdout
    facts = json.loads(done.stdout.removeprefix("FACTS "))
    assert facts["created"] == 3
    assert facts["first"] == [2, 3, 1]
    all_done = {"todo": 0, "ongoing": 0, "error": 0, "success": 3, "invalid": 0}
    assert facts["second"] == [1, 0, all_done, "read-back"]
    assert facts["progress"] == [2, 2]
    assert facts["summary"] == 6
    assert sorted(facts["found"]) == [
        ["item000", "missing", "0.bin"],
        ["item001", "changed", "1.bin"],
        ["item002", "extra", "more.bin"],
    ]
    assert facts["verified"] == [1, 6]
    assert facts["put_back"] == ["item000", "item001"]
    assert facts["sent"] == ["0.bin", "1.bin"]
    assert facts["mended"] == 0
    assert facts["retried"] == ["item001"]
    assert facts["transferred"] == 1
    assert facts["left"] == [0]
    assert facts["rows"] == facts["written"] == 6
    assert facts["same"]
    assert facts["archive"] == 0
    assert facts["are_events"]
    assert facts["kinds"]["success"] == 3
    assert facts["kinds"]["file"] == 6
    assert facts["kinds"]["finding"] == 3
    assert facts["kinds"]["put-back"] == 2
    assert facts["kinds"]["generated"] == facts["kinds"]["verified"] == 1
    assert list(facts["columns"].items()) == documented_columns()
    assert contents(copies) == contents(results)
    assert set(statuses(joblist).values()) == {"success"}


def documented_columns() -> list[tuple[str, str]]:
    """The columns and Arrow types that the page about receipts has."""
    page = (ROOT / "docs" / "reference" / "receipts.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| `(\w+)` \| ([a-z0-9]+)([^|]*)\|", page, re.MULTILINE)
    return [
        (name, _timestamp(name, rest) if kind == "timestamp" else kind)
        for name, kind, rest in rows
        if kind in ("string", "int64", "int32", "timestamp")
    ]


def _timestamp(name: str, rest: str) -> str:
    return f"timestamp[{'us' if 'microseconds' in rest else 's'}, tz=UTC]"
