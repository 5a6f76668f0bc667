"""The mails of schedulers: which events of a job they are sent for.

Sources: sbatch(1), ``--mail-type`` and ``--mail-user``; qsub(1B) of OpenPBS, ``-m`` and ``-M``.
"""

from __future__ import annotations

from jobtool.errors import UsageError
from jobtool.names import quote
from jobtool.suggest import closest

#: Slurm's words by ours, and PBS's letters; None where PBS has nothing like it.
_TYPES = {
    "begin": ("BEGIN", "b"),
    "end": ("END", "e"),
    "fail": ("FAIL", "a"),
    "requeue": ("REQUEUE", None),
    "time-limit": ("TIME_LIMIT", None),
    "array-tasks": ("ARRAY_TASKS", "j"),
    "all": ("ALL", "abe"),
    "none": ("NONE", "n"),
}

MAIL_TYPES = tuple(_TYPES)

#: What mail is sent for if an address is given alone.
DEFAULT_MAIL_TYPES = ("end", "fail")


def require_mail_types(words: tuple[str, ...], scheduler: str) -> None:
    """Raise ``UsageError`` for words that aren't known, or that the scheduler has nothing for."""
    for word in words:
        if word not in _TYPES:
            meant = closest(word, MAIL_TYPES)
            hint = f" Did you mean {meant}?" if meant else ""
            raise UsageError(
                f"--mail-type: expected some of {', '.join(MAIL_TYPES)}, separated by commas; "
                f"found {quote(word) or 'nothing'}.{hint}"
            )
        if scheduler == "pbs" and _TYPES[word][1] is None:
            raise UsageError(
                f"--mail-type {word} is Slurm's; with --scheduler pbs use some of "
                f"{', '.join(each for each in MAIL_TYPES if _TYPES[each][1])}"
            )
    if "none" in words and len(words) > 1:
        raise UsageError(f"--mail-type: expected none alone; found {', '.join(words)}")


def slurm_mail_types(words: tuple[str, ...]) -> str:
    """Return the value of Slurm's ``--mail-type``."""
    return ",".join(_TYPES[word][0] for word in words)


def pbs_mail_points(words: tuple[str, ...]) -> str:
    """Return the value of PBS's ``-m``: each letter once, ``j`` first, as qsub(1B) asks."""
    letters = "".join(_TYPES[word][1] or "" for word in words)
    return "".join(letter for letter in "jabe" if letter in letters) or "n"
