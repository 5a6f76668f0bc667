"""The report is one page that loads nothing and shows what the job files say, whatever it is."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import jobtool
from jobtool.report.attempts import Outcome
from jobtool.report.charts import merged, sizes_chart
from jobtool.report.collect import Span
from jobtool.report.page import MOST_TABLE_BYTES
from jobtool.report.rates import MOST_INTERVALS, BytesOverTime
from tests.commands import environment, run, run_ok
from tests.needs import lack
from tests.report.lists import make_joblist
from tests.trees import make_items, snapshot

HOSTILE = '<script>alert("x")</script>&amp; $\\frac{'
VOID = {"meta", "br", "input", "link", "img", "hr"}


class Page(HTMLParser):
    """A page's elements, texts and what they would load; fails where elements don't nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []
        self.scripts: list[str] = []
        self.loads: list[str] = []
        self.ids: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = dict(attrs)
        self.loads += [named[key] or "" for key in ("src", "href", "xlink:href") if key in named]
        self.ids += [named["id"] or ""] if "id" in named else []
        assert not any(key.startswith("on") for key in named)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.handle_endtag(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        (self.scripts if "script" in self.open else self.texts).append(data)

    @property
    def rows(self) -> list[list[object]]:
        """The rows of the table of jobs, as the script reads them."""
        return json.loads(self.scripts[0])


def page_of(joblist: Path, *, by_command: bool = False) -> tuple[Page, str]:
    output = joblist.with_suffix(".html")
    if by_command:
        run_ok("jobtool", "report", joblist, "-o", output)
    else:  # in this process, which loads matplotlib once
        jobtool.write_report(joblist, output)
    text = output.read_text(encoding="utf-8")
    page = Page(text)
    assert all(each.startswith("#") and each[1:] in page.ids for each in page.loads), page.loads
    assert len(set(page.ids)) == len(page.ids)
    assert "url(http" not in text
    assert "@import" not in text
    return page, text


def test_counts_of_files_on_the_axis_are_whole_numbers(tmp_path: Path) -> None:
    assert re.findall(r">(\d+)</text>", sizes_chart({10: 2})) == ["0", "1", "2"]


@pytest.mark.parametrize("count", [0, 1, 216])
def test_a_page_has_every_job_and_their_counts(tmp_path: Path, count: int) -> None:
    joblist = make_joblist(tmp_path / "list", count)
    before = snapshot(joblist)
    page, text = page_of(joblist, by_command=True)
    assert snapshot(joblist) == before
    done = sum(row[1] == "success" for row in page.rows)
    assert len(page.rows) == count
    assert done == sum(number % 10 < 8 for number in range(count))
    assert f"{done} of {count}" in page.texts
    assert text.count("<svg") == (2 if count else 0)  # without receipts, no sizes of files
    assert (">Progress by batch<" in text) == (count > 0)
    assert (">Progress by plate<" in text) == (0 < count <= 10)  # a value for each job


def test_errors_are_grouped_by_cause_and_come_first_in_the_table(tmp_path: Path) -> None:
    page, _ = page_of(make_joblist(tmp_path / "list", 216))
    assert "…: Permission denied" in page.texts
    assert "…: Input/output error" in page.texts
    assert [row[1] for row in page.rows[:21]] == ["error"] * 21
    assert page.rows[21][1] != "error"
    assert page.rows[0][9].endswith("Permission denied")


@pytest.mark.parametrize("count", [2_000, pytest.param(20_000, marks=pytest.mark.wide)])
def test_twenty_thousand_jobs_fit_in_five_megabytes(tmp_path: Path, count: int) -> None:
    empty = len(page_of(make_joblist(tmp_path / "none", 0))[1].encode())
    page, text = page_of(make_joblist(tmp_path / "list", count, steps=1))
    assert len(text.encode()) - empty < (5_000_000 - empty) * count / 20_000
    assert len(page.rows) == count


def test_jobs_that_do_not_fit_are_left_out_and_counted(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", 0)
    for number in range(3000):
        note = f"{number}" + "é<" * 1000
        (joblist / f"{number:04d}{'n' * 190}.txt").write_text(
            "error\nsource: /in\ndestination: /out\n---\n"
            f'2026-11-20T14:32:00Z error reason="{note}"\n'
        )
    page, text = page_of(joblist)
    assert len(text.encode()) < 5_000_000
    assert len(page.scripts[0].encode()) > 0.9 * MOST_TABLE_BYTES
    assert f"{3000 - len(page.rows):,} more jobs are left out of this page." in page.texts
    assert "2,950 more causes are left out of this page." in page.texts


def test_hostile_names_are_shown_and_never_run(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "<b>list", 1)
    name = HOSTILE.replace("/", "_")
    (joblist / f"{name}.txt").write_text(
        f"error\nsource: /in/{HOSTILE}\ndestination: /out\nfield.{'x'}: {HOSTILE}\n---\n"
        f"2026-11-20T14:31:00Z claimed worker={HOSTILE.replace(' ', '_')}:1 attempt=1\n"
        f'2026-11-20T14:31:02Z error reason="{HOSTILE[:7]}</script>\\u202e\\x1b" attempt=1\n'
    )
    page, text = page_of(joblist)
    assert len(page.scripts) == 2
    assert page.rows[0][0] == name or name in str(page.rows[0][0])
    assert page.rows[0][9] == "<script</script>\\u202e\\u001b"
    assert HOSTILE in page.texts
    assert "<script>alert" not in text
    assert not re.search("[\u202e\x1b]", text)
    markdown = run_ok("jobtool", "report", joblist, "--markdown").stdout
    assert "<" not in markdown
    assert HOSTILE in unescape(markdown)


def test_names_that_are_no_text_are_written_as_in_job_files(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", 0)
    (joblist / "odd.txt").write_bytes(
        b'todo\nsource: "/in/\\xff\\n"\ndestination: /out\nfield.x: "\\xff\\n"\n---\n'
    )
    page, _ = page_of(joblist)
    assert '"\\xff\\n"' in page.texts
    for form in ("--markdown", "--csv"):
        assert "\\xff\\n" in unescape(run_ok("jobtool", "report", joblist, form).stdout)


def test_secrets_in_logs_are_redacted(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", 0)
    secret = "c0ffee" * 6
    (joblist / "a.txt").write_text(
        "error\nsource: /in\ndestination: /out\n---\n2026-11-20T14:31:02Z error "
        f'reason="GET https://user:{secret}@host/x?X-Amz-Signature={secret} failed"\n'
    )
    _, text = page_of(joblist)
    assert "GET https://" in text
    for form in ("--markdown", "--csv"):
        text += run_ok("jobtool", "report", joblist, form).stdout
    text += run("jobtool", "show", joblist, "a").stdout
    text += run("jobtool", "show", joblist, "a", "--json").stdout
    assert secret not in text


def test_files_of_a_real_transfer_are_counted_by_how_they_were_proven(tmp_path: Path) -> None:
    make_items(tmp_path / "in", 2)
    joblist = tmp_path / "list"
    jobtool.generate_joblist(tmp_path / "in", joblist, destination=tmp_path / "out")
    jobtool.transfer_jobs(joblist)
    receipts = jobtool.read_receipts(joblist)
    page, text = page_of(joblist)
    assert "read-back" in page.texts
    at = page.texts.index("read-back")
    assert str(receipts.num_rows) in page.texts[at : at + 5]
    assert text.count("<svg") == 3
    for table in joblist.glob("receipts/*"):
        table.write_bytes(b"torn")
    page, _ = page_of(joblist)
    assert any(each.startswith("Not counted") for each in page.texts)


def test_csv_has_a_row_for_each_job(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", 20)
    output = tmp_path / "jobs.csv"
    run_ok("jobtool", "report", joblist, "-o", output)
    assert run_ok("jobtool", "report", joblist, "--csv").stdout == output.read_text()
    rows = list(csv.DictReader(io.StringIO(output.read_text())))
    assert len(rows) == 20
    first = rows[0]
    assert (first["job"], first["status"], first["files_done"]) == (
        "J000__A1170000",
        "success",
        "9",
    )
    assert (first["started"], first["field.plate"]) == ("2026-11-20T08:00:00Z", "A1170000")
    assert rows[9]["bytes_done"] == rows[9]["seconds"] == ""


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((), "-o report.html, --markdown or --csv"),
        (("-o", "{}/report.pdf"), "ends in .html or .htm or .md or .csv"),
        (("-o", "{}/report.md", "--csv"), "ends in .csv"),
        (("--markdown", "--csv"), "found both"),
        (("-o", "{}/no/report.md"), "expected a folder at"),
        (("-o", "{}/list/new.txt", "--csv"), "ends in .csv"),
    ],
)
def test_an_output_that_makes_no_sense_is_refused(
    tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    joblist = make_joblist(tmp_path / "list", 1)
    before = snapshot(tmp_path)
    done = run("jobtool", "report", joblist, *(each.format(tmp_path) for each in arguments))
    assert done.exit_code == 2
    assert expected in done.stderr
    assert snapshot(tmp_path) == before


def test_without_matplotlib_the_other_forms_work(tmp_path: Path) -> None:
    joblist = make_joblist(tmp_path / "list", 1)
    hidden = tmp_path / "hidden" / "matplotlib"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ImportError\n")
    variables = {"PYTHONPATH": f"{hidden.parent}:{environment().get('PYTHONPATH', '')}"}
    done = run("jobtool", "report", joblist, "-o", tmp_path / "x.html", env=variables)
    assert done.exit_code == 2
    assert "pip install 'jobtool[report]'" in done.stderr
    assert run("jobtool", "report", joblist, "--csv", env=variables).exit_code == 0


def test_a_browser_shows_filters_and_sorts_the_table(tmp_path: Path) -> None:
    browser = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    if browser is None:
        lack("chromium not found: apt-get install chromium")
    joblist = make_joblist(tmp_path / "list", 216)
    _, text = page_of(joblist)
    # The page's policy refuses any other script than its own, so a test's is added with its digest
    # left out of the policy: the policy is removed.
    plain = re.sub(r"<meta http-equiv[^>]*>", "", text)
    act = (
        "<script>document.getElementById('text').value='PERMISSION';"
        "document.getElementById('text').dispatchEvent(new Event('input'));"
        "document.querySelectorAll('#jobs th button')[0].click();"
        "document.querySelectorAll('#jobs th button')[0].click();</script>"
    )
    for name, content in (("own", text), ("acted", plain.replace("</body>", f"{act}</body>"))):
        (tmp_path / f"{name}.html").write_text(content, encoding="utf-8")
    own, acted = (dom(browser, tmp_path / f"{name}.html", tmp_path) for name in ("own", "acted"))
    assert "200 of 216 jobs" in own  # so the policy lets the page's own script run
    assert "11 of 11 jobs" in acted
    names = re.findall(r'<td class="name">(J\d+__A\d+)</td>', acted)
    assert len(names) == 11
    assert names == sorted(names, reverse=True)


def dom(browser: str, page: Path, folder: Path) -> str:
    """The page as it is after its scripts have run, with names that can't be resolved."""
    done = subprocess.run(
        [
            *(browser, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom"),
            *(f"--user-data-dir={folder / 'profile'}", "--host-resolver-rules=MAP * ~NOTFOUND"),
            page.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@given(
    st.lists(
        st.tuples(st.integers(0, 253402300799), st.integers(0, 10**6), st.integers(0, 10**15)),
        max_size=30,
    )
)
def test_bytes_over_time_are_kept_in_few_intervals(added: list[tuple[int, int, int]]) -> None:
    over_time = BytesOverTime()
    for start, seconds, count in added:
        over_time.add(start, start + seconds, count)
    rates = over_time.rates()
    assert len(rates) <= MOST_INTERVALS
    found = sum(rate for _, rate in rates) * over_time.seconds
    assert found == pytest.approx(sum(count for _, _, count in added), rel=1e-6)


def test_gaps_of_a_worker_stay_visible() -> None:
    done, failed = Outcome.SUCCESS, Outcome.ERROR
    spans = [Span(0, 10, done), Span(11, 20, done), Span(60, 70, done), Span(70, 80, failed)]
    assert merged(spans, 5) == [Span(0, 20, done), Span(60, 70, done), Span(70, 80, failed)]
