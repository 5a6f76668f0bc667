"""What is read quickly of a job file is what the decoder says of it, whatever the file holds."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from jobtool.report.quickline import quick_line
from jobtool.report.reading import _decoded
from tests.report.lists import make_joblist

HEADER_LINES = st.sampled_from(
    [
        *("source: /in/a", "source: /in/a b ", 'source: "/in/a"', "destination: s3://b/a"),
        *("destination: /out/é", "attempts: 1", "attempts: x", "failures: 2", "hand_backs: 1"),
        *("field.batch: J1", "field.batch: J2", "field.plate: -> ", "requires: steps", "other: 1"),
        *("", "requires: later", "not_before: 2026-11-20T14:31:00Z", "requires_intervention: true"),
    ]
)
LOG_LINES = st.sampled_from(
    [
        "2026-11-20T14:31:00Z claimed worker=n:1 rank=0 attempt=1",
        "2026-11-20T14:31:00Z claimed worker=n:1 rank=0 worker=m:2",
        '2026-11-20T14:31:00Z claimed worker="n 1" rank=0',
        "2026-11-20T14:32:00Z progress files=1/9 bytes=5/90 rate_mb_s=1.0",
        "2026-11-20T14:33:00Z success files=9 bytes=90 seconds=77 attempt=1",
        "2026-11-20T14:30:00Z success files=9 bytes=90",
        "2026-13-20T14:33:00Z success files=9 bytes=90",
        "2026-11-20T14:33:61Z success files=9 bytes=90",
        "2026-11-20T14:33:00Z success files=9 bytes=90 files=7",
        "2026-11-20T14:33:00Z success files=9 bytes=90 torn",
        "2026-11-20T14:33:00Z success files=1234567890123456789 bytes=90",
        "2026-11-20T14:34:00Z error reason=x failed_files=1",
        "2026-11-20T14:34:00Z handed-back reason=x",
        "2026-11-20T14:35:00Z retry by=ann",
        *(
            "Ann: was claimed by me",
            "a success at last",
            "",
            " 2026-11-20T14:33:00Z success files=1",
        ),
    ]
)


@given(
    status=st.sampled_from(["todo", "success", "ongoing", "error", "Done", "success "]),
    header=st.lists(HEADER_LINES, max_size=6),
    log=st.lists(LOG_LINES, max_size=5),
    end=st.sampled_from(["\n", "", "\r\n"]),
    job_id=st.sampled_from(["a", "a%20b"]),
)
def test_it_says_what_the_decoder_says(
    status: str, header: list[str], log: list[str], end: str, job_id: str
) -> None:
    text = "\n".join([status, "source: /in/x", *header, "---", *log]) + end
    found = quick_line(job_id, text.encode())
    assert found is None or found == _decoded(job_id, text.encode()).line


@given(st.lists(LOG_LINES, min_size=2, max_size=4))
def test_logs_of_plain_successes_are_read_alike(log: list[str]) -> None:
    text = "\n".join(["success", "source: /in/x", "attempts: 1", "---", *log]) + "\n"
    found = quick_line("a", text.encode())
    assert found is None or found == _decoded("a", text.encode()).line


def test_the_usual_job_files_are_read_quickly(tmp_path) -> None:
    folder = make_joblist(tmp_path / "list", 20)
    quick = {"success": 0, "todo": 0, "error": 0}
    for path in folder.glob("*.txt"):
        data = path.read_bytes()
        line = quick_line(path.stem, data)
        quick[data.split(b"\n")[0].decode()] += line is not None
        assert line is None or line == _decoded(path.stem, data).line
    assert quick == {"success": 16, "todo": 2, "error": 0}
