"""What people read when something goes wrong: each message is whole, honest and helpful."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path

import click
import pytest

from jobtool.cli.wrongusage import in_words
from jobtool.errors import JobtoolError
from jobtool.suggest import closest
from tests.commands import ROOT
from tests.messages.provoked import CASES, EXAMPLES, SHOWN, messages, world
from tests.messages.test_json import commands

sys.path.insert(0, str(ROOT / "docs"))

from error_templates import all_kinds, templates

#: The ends of sentences; a placeholder, a quoted value or a closing bracket may end a message.
_ENDS = re.compile(r"[.?!)\]…'\"}]$|[A-Z_]$")

_SEVERAL = re.compile(r"\S[.?!] [A-Z][a-z]")

#: Words that say nothing, or blame.
_RIDDLES = re.compile(
    r"\b(oops|something went wrong|unknown error|unexpected error|internal error|illegal|"
    r"unable to|please|sorry|fatal|failed to|invalid input|bad request|something failed)\b",
    re.IGNORECASE,
)

#: What to do: what was expected, what was likely meant, or what comes next.
_NEXT = re.compile(
    r"expected|Expected|Did you mean|[Tt]ry |Correct|Choose|Make |Give |Use |Write |Add |Leave |"
    r"Remove |Name |Install|Upgrade|jobtool [a-z]+|Was the source moved|Put it|Set |Settings of|"
    r"pip install|takes|which has|Run |Wait|Fix |Change |Generate |Repeat |Pass |Log in|Move it"
)

#: What else a template may say: another part of the message has the advice, or words of a program.
_MORE = re.compile(
    r"needs|can't be|found|use |add |name |call |set |write |says which|does it loop|To start|"
    r"can't (make|write|read)|isn't set here|just been removed|nested too|columns are|Check |"
    r"INSTEAD|ADVICE|HINT|"
    r"no digest|no order|little-endian|of other sources|a loop:|…\.?$|--trust|--then|which, WHAT|"
    r"(SAID|REASON|MESSAGE|ERROR|MISSING, …)\.?$|so no file can name|no path of"
)

_RECORD = "If a new text is right: python -m tests.messages.provoked, then make docs"


@pytest.fixture(scope="module")
def recorded() -> list[dict[str, object]]:
    return json.loads(EXAMPLES.read_text(encoding="utf-8"))


def test_messages_that_people_meet(tmp_path: Path, recorded: list[dict[str, object]]) -> None:
    """One line, the right exit code, the thing named, what to do, and as the docs show it."""
    place = world(tmp_path)
    assert len(CASES) == len(recorded) >= 100, _RECORD
    wrong = []
    for (case, done, text), known in zip(messages(place), recorded, strict=True):
        lacking = [name for name in case.names if name not in text]
        faults = [
            done.exit_code != case.exit_code and f"exit code {done.exit_code}",
            lacking and f"it lacks {lacking}",
            "\n" in text.strip() and "several lines",
            "Traceback" in done.stdout + done.stderr and "a traceback",
            "sesame" in done.stdout + done.stderr and "a secret",
            not _NEXT.search(text) and "no next step",
            _RIDDLES.search(text) and "a riddle",
            re.search(r"[a-z]\.\.( |$)", text) and "two full stops",
            (case.command, text) != (known["command"], known["message"])
            and f"not as in {EXAMPLES}",
        ]
        if any(faults):
            wrong.append(f"{case.command}: {[each for each in faults if each]}\n  {text}")
    assert not wrong, "\n".join([*wrong, _RECORD])
    assert not [path for path in tmp_path.rglob("core*") if path.is_file()]
    assert SHOWN not in str(tmp_path)


def test_many_of_them_are_slips_that_are_understood(recorded: list[dict[str, object]]) -> None:
    assert sum("Did you mean" in str(each["message"]) for each in recorded) >= 45


def test_every_template_is_whole() -> None:
    """A message of several sentences ends as one; none ends in the middle, and none is a riddle."""
    wrong = []
    for each in templates():
        text = each.text.strip()
        if _SEVERAL.search(text) and not _ENDS.search(text):
            wrong.append(f"{each.where}: no end of the sentence: …{text[-60:]}")
        if re.search(r"[:;,]$", text):
            wrong.append(f"{each.where}: it ends in the middle: …{text[-60:]}")
        if _RIDDLES.search(text):
            wrong.append(f"{each.where}: a riddle: {text}")
        if each.text.startswith(("Error", "error:", "ERROR")):
            wrong.append(f"{each.where}: an error needn't say that it is one: {text}")
    assert not wrong, "\n".join(wrong)


def test_wrong_usage_says_what_is_expected_or_what_to_do() -> None:
    """Of errors by the command line and by files; others tell what a store or a program said."""
    wrong = [
        f"{each.where}: {each.text}"
        for each in templates()
        if issubclass(each.kind, JobtoolError) and each.kind.exit_code == 2
        if not _NEXT.search(each.text) and not _MORE.search(each.text)
    ]
    assert not wrong, "\n".join(wrong)


def test_every_kind_of_error_is_made_or_has_kinds_below_it() -> None:
    """An error that no code makes has no message in the list: it is gone, or made out of sight."""
    made = {each.kind for each in templates()}
    silent = [
        kind.__name__
        for kind in all_kinds()
        if kind not in made and not kind.__subclasses__() and kind.__name__ not in _OF_OTHERS
    ]
    assert silent == [], "Make it by a call with a text, so that its messages are in the docs."
    lacking = [
        kind.__name__
        for kind in all_kinds()
        if not (kind.__doc__ or "").strip() and kind.__name__[0] != "_"
    ]
    assert lacking == [], "Its docstring is its meaning in the docs."
    assert {kind.exit_code for kind in all_kinds()} == {1, 2, 3, 4, 5}


#: Kinds whose texts are made elsewhere: of verdicts on codes of stores, which are in
#: docs/reference/errors.md, or from a text that is handed on.
_OF_OTHERS = frozenset(
    "ArchivedError PartsLostError NotArrivedError ExistsError ConditionError InTheWayError "
    "UnsupportedError RanksLostError SitesUnreadableError TransferError _EnoughError "
    "FilesFailedError".split()
)


def _options(command: click.Command) -> list[str]:
    return [text for each in command.params for text in each.opts if text.startswith("--")]


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=str)
def test_a_slip_in_any_option_of_any_command_is_understood(
    name: str, command: click.Command
) -> None:
    """Each option with two letters swapped leads to itself, or to one that is as close."""
    for option in _options(command):
        middle = 2 + len(option[2:]) // 2
        letters = list(option)
        letters[middle - 1], letters[middle] = letters[middle], letters[middle - 1]
        slip = "".join(letters)
        if slip == option or len(option) < 7:
            continue
        with pytest.raises(click.NoSuchOption) as caught:
            command.make_context(name, [slip], resilient_parsing=False)
        assert caught.value.option_name == slip
        assert in_words(caught.value) == f"there is no option '{slip}'. Did you mean '{option}'?"


@pytest.mark.parametrize(
    ("word", "known", "meant"),
    [
        ("item00O", ["item000", "item001"], "item000"),
        ("Threads", ["threads", "thread_size"], "threads"),
        ("max-attempts", ["max_attempts"], "max_attempts"),
        ("plat_01", ["plate_01", "plate_02"], "plate_01"),
        ("dest", ["destination", "source"], "destination"),
        ("d", ["destination"], None),
        ("zebra", ["destination", "source"], None),
        ("source", ["source"], "source"),
    ],
)
def test_the_closest_word(word: str, known: list[str], meant: str | None) -> None:
    assert closest(word, known) == meant
