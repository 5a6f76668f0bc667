"""Strategies for hypothesis: names, jobs, log records."""

from __future__ import annotations

import os
from datetime import UTC, datetime

from hypothesis import strategies as st
from msgspec.structs import replace

from jobtool.jobs.job import COPY, FilePair, Job, JobStatus, StepState
from jobtool.jobs.joblog import LogRecord

#: Parts of names that are difficult for a codec.
_AWKWARD = st.sampled_from(
    [
        *('"', "\\", " -> ", "->", " ", "\n", "\r", "\t", "\x01", "\x85", "\u2028", "\u202e"),
        *("---", ": ", "#", "%", "%2F", "~", "\\x41", "\\n", "=", "\udcff", "s3://", "todo"),
        *("🧬", "e\u0301"),
    ]
)

#: Every string of bytes that a filesystem allows in a path.
raw_bytes = st.binary(max_size=40).map(lambda data: data.replace(b"\0", b"\n"))

#: Paths and names as ``os.fsdecode`` gives them: anything but NUL.
names = raw_bytes.map(os.fsdecode) | st.lists(
    _AWKWARD | st.characters(exclude_categories=["Cs"]), max_size=12
).map("".join).map(lambda text: os.fsdecode(os.fsencode(text.replace("\0", ""))))
some_name = names.filter(bool)

_keys = st.from_regex(r"[A-Za-z_][A-Za-z0-9_.-]{0,12}", fullmatch=True)
_known = {
    *("source", "destination", "attempts", "failures", "requires_intervention", "file", "name"),
    *("hand_backs", "requires", "steps"),
}
_plain_values = st.text("abc XYZ/:>\"'#=-é", max_size=15).map(str.strip)


_words = st.text('abcXYZ_-.09 é"', min_size=1, max_size=8).map(str.strip).filter(bool)

#: Chains of steps, each with ``copy``, and how far their steps are.
chains = st.lists(st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True), max_size=4).map(
    lambda names: tuple(dict.fromkeys([*names, COPY]))
)
_states = st.builds(
    StepState, status=st.sampled_from(JobStatus), attempts=st.integers(0, 10**6)
).filter(lambda state: state != StepState())


@st.composite
def _steps(draw: st.DrawFn) -> dict[str, object]:
    """What a job requires, and its steps if it requires those."""
    words = draw(st.lists(_words, max_size=3))
    if not draw(st.booleans()):
        return {"requires": tuple(word for word in words if word != "steps")}
    chain = draw(chains)
    begun = draw(st.lists(st.sampled_from(chain), unique=True))
    return {
        "requires": tuple(draw(st.permutations([*words, "steps"]))),
        "steps": chain,
        "step_states": {name: draw(_states) for name in begun},
    }


times = st.datetimes(datetime(1970, 1, 1), datetime(9999, 1, 1)).map(
    lambda time: time.replace(microsecond=0, tzinfo=UTC)
)

_plain_jobs = st.builds(
    Job,
    name=some_name,
    status=st.sampled_from(JobStatus),
    source=some_name,
    destination=st.none() | some_name,
    files=st.lists(st.builds(FilePair, source=some_name, destination=some_name), max_size=4).map(
        tuple
    ),
    fields=st.dictionaries(_keys, names, max_size=4),
    attempts=st.integers(0, 10**6),
    failures=st.integers(0, 10**6),
    requires_intervention=st.booleans(),
    hand_backs=st.integers(0, 10**6),
    not_before=st.none() | times,
    extra=st.lists(
        st.tuples(
            _keys.filter(lambda key: key not in _known and not key.startswith("field.")),
            _plain_values,
        ),
        max_size=4,
    ).map(tuple),
)
jobs = st.builds(lambda job, steps: replace(job, **steps), _plain_jobs, _steps())

records = st.builds(
    LogRecord,
    time=times,
    event=st.from_regex(r"[a-z][a-z_-]{0,15}", fullmatch=True),
    values=st.dictionaries(st.from_regex(r"[a-z][a-z_]{0,10}", fullmatch=True), names, max_size=4),
)
