"""What to do about a cause of errors: a sentence, and the command that deals with it."""

from __future__ import annotations

import re

from jobtool.names import shell_word
from jobtool.report.causes import Cause

#: How a hint ends that leads to ``jobtool show``.
_SHOW = ": <jobtool show {path} {job}>"

#: What messages of errors say, in the order in which they are tried, and what helps. A message may
#: be of a file system, a store, a server or a program, so only words are looked for. Commands are
#: between angle brackets.
_HINTS: tuple[tuple[str, str], ...] = (
    (
        r"\blink\b.*\b(?:nowhere|outside|loop)|\bsymbolic link",
        "Choose what becomes of links: <transfer-worker --links skip|keep|follow>",
    ),
    (r"no space left|quota|disk full|insufficient storage|\b507\b", "Make room at the destination"),
    (
        r"credential|token|expired|signature|access ?key|\b401\b|unauthorized|login|password",
        "Renew the credentials; to see whether they work: <jobtool doctor {path}>",
    ),
    (
        r"permission denied|access ?denied|forbidden|\b403\b|not permitted|read-only",
        "Get access; to see who may do what: <jobtool doctor {path}>",
    ),
    (
        r"digest|checksum|\bmd5\b|corrupt|damaged|differs? (?:from|in)|doesn't match",
        f"Find out which side is right{_SHOW}",
    ),
    (
        r"exists already|already exists|is there already",
        "Choose what becomes of such files: <transfer-worker --if-exists verify|overwrite>",
    ),
    (
        r"no such file|not found|\b404\b|nosuchkey|is gone|vanished|has been removed",
        "Put the files back, or leave them out: <transfer-worker --if-gone ignore>",
    ),
    (r"changed (?:while|since|during)|has changed", "Wait until nobody writes to the source"),
    (
        r"timed? ?out|connection|unreachable|refused|resolve|network|\b50[0234]\b|slow ?down",
        "To see whether the servers answer: <jobtool doctor {path}>",
    ),
    (
        r"input/output error|stale file|transport endpoint|host is down",
        "Have the filesystem looked at; to see whether it works from here: <jobtool doctor {path}>",
    ),
)
_COMPILED = tuple((re.compile(pattern, re.IGNORECASE), hint) for pattern, hint in _HINTS)

#: As much of a message is looked at.
_MOST_CHARACTERS = 2000


def hint_for(cause: Cause, joblist_path: str) -> str:
    """Return what helps against a cause and, at its end, the command that has its jobs done again.

    | jobs | what to do |
    | --- | --- |
    | invalid | correct their files |
    | in error | what the message calls for, then ``jobtool retry`` |
    """
    return "".join(hint_parts(cause, joblist_path))


def advice_for(reason: str | None, job: str, joblist_path: str) -> str:
    """Return what to do about a job in error, for those who see already what is known of it."""
    path, job = shell_word(joblist_path), shell_word(job)
    found = (_found(reason or "") or "Mend the cause").removesuffix(_SHOW)
    text = f"{found}; then: jobtool retry {{path}} --job {{job}}"
    return re.sub("[<>]", "", text).format(path=path, job=job)


def _found(reason: str) -> str | None:
    shown = reason[:_MOST_CHARACTERS]
    return next((hint for pattern, hint in _COMPILED if pattern.search(shown)), None)


def hint_parts(cause: Cause, joblist_path: str) -> list[str]:
    """Return the hint in parts, of which each second one is a command."""
    path, job = shell_word(joblist_path), shell_word(cause.jobs[0])
    is_one = len(cause.jobs) == 1
    if cause.status != "error":
        files = "its job file" if is_one else "their job files"
        text = f"Correct {files}; to see one: <jobtool show {{path}} {{job}}>"
    else:
        retry = "<jobtool retry {path} --job {job}>" if is_one else "<jobtool retry {path}>"
        found = _found(cause.text)
        again = f"then: {retry}" if found else f"once it is mended: {retry}"
        text = f"{found or 'To see more: <jobtool show {path} {job}>'}; {again}"
    return [part.format(path=path, job=job) for part in re.split("[<>]", text)]
