"""The examples on the page about Python and in docstrings do what they show."""

from __future__ import annotations

import doctest
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import jobtool
from tests.trees import make_items

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "python.md"

WITH_EXAMPLES = [
    jobtool.clean_jobs,
    jobtool.generate_joblist,
    jobtool.read_receipts,
    jobtool.release_jobs,
    jobtool.retry_jobs,
    jobtool.send_notices,
    jobtool.show_job,
    jobtool.Stop,
    jobtool.summarise_jobs,
    jobtool.transfer_jobs,
    jobtool.update_joblist,
    jobtool.verify_jobs,
    jobtool.write_receipts,
    jobtool.write_report,
    jobtool.plan_transfer,
    jobtool.write_checksums,
]


def require_true(text: str, name: str, names: dict[str, Any]) -> int:
    """Run the examples in a text; return how many there are."""
    told: list[str] = []
    runner = doctest.DocTestRunner(verbose=False)
    runner.run(doctest.DocTestParser().get_doctest(text, names, name, name, 0), out=told.append)
    assert not runner.failures, "".join(told)
    return runner.tries


def test_the_page_about_python_shows_what_happens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    text = re.sub(r"^```.*$", "", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    assert require_true(text, PAGE.name, {}) >= 30


@pytest.mark.parametrize("public", WITH_EXAMPLES, ids=lambda public: public.__name__)
def test_what_is_public_does_as_its_example_shows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, public: Callable[..., object]
) -> None:
    monkeypatch.chdir(tmp_path)
    make_items(tmp_path / "results", 2)
    if public is not jobtool.generate_joblist:
        jobtool.generate_joblist("results", "joblist", destination="copies")
        if public not in (jobtool.transfer_jobs, jobtool.plan_transfer):
            jobtool.transfer_jobs("joblist")
    assert require_true(public.__doc__ or "", public.__name__, {"jobtool": jobtool})


def test_the_page_refers_to_every_public_name() -> None:
    errors = {name for name in jobtool.__all__ if name.endswith("Error")}
    text = PAGE.read_text("utf-8")
    shown = set(re.findall(r"^\.\. auto\w+:: jobtool\.(\w+)$", text, re.MULTILINE))
    assert shown - {"errors"} == set(jobtool.__all__) - errors - {"Scope", "__version__"}
    assert "errors" in shown
