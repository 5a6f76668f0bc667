"""What to do with a file: the function and the table in its docstring say the same."""

from __future__ import annotations

import inspect
import itertools

import pytest

from jobtool.transfer.decision import Action, Held, Known, decide, may_be_given, may_replace

POLICIES = ("verify", "overwrite", "error")
FLAGS = (
    "is_proven",
    "has_failed",
    "is_ours",
    "is_tried",
    "is_taken_up",
    "is_claimed",
    "has_upload",
    "differs",
)


def all_cases():
    for held, if_exists, is_there in itertools.product(Held, POLICIES, (None, False, True)):
        for flags in itertools.product((False, True), repeat=len(FLAGS)):
            known = Known(held=held, is_there=is_there, **dict(zip(FLAGS, flags, strict=True)))
            yield known, if_exists


def table():
    """The rows of the docstring's table: the cells of each, by the heading of their column."""
    lines = inspect.getdoc(decide).splitlines()
    first, second, last = [number for number, line in enumerate(lines) if line.startswith("====")]
    ends = list(itertools.accumulate(len(rule) + 1 for rule in lines[first].split()))
    starts = [0, *ends[:-1]]

    def cells(line):
        return [line[start:end].strip() for start, end in zip(starts, ends, strict=True)]

    (heading,) = map(cells, lines[first + 1 : second])
    return [dict(zip(heading, cells(line), strict=True)) for line in lines[second + 1 : last]]


def by_table(known, if_exists):
    yes = {False: "no", True: "yes"}
    is_found = known.held in (Held.SAME_SIZE, Held.OTHER_SIZE)
    is_perhaps_same = known.held is Held.SAME_SIZE or known.is_tried or known.is_claimed
    is_same = is_perhaps_same and not known.differs
    case = {
        "over": yes[known.is_proven or known.has_failed],
        "claimed": yes[known.is_claimed],
        "there": yes[is_found or known.is_tried],
        "if_exists": if_exists,
        "ours": yes[known.is_ours],
        "perhaps": yes[known.is_tried or known.is_taken_up],
        "same": yes[is_same],
        "is_there": str(known.is_there),
    }
    for row in table():
        wanted = {name: cell.split(", ") for name, cell in row.items() if name != "action"}
        if all(cells == ["--"] or case[name] in cells for name, cells in wanted.items()):
            if row["action"] == "go on":
                return Action.RESUME if known.has_upload else Action.SEND
            return Action[row["action"]]
    raise AssertionError(f"no row fits {case}")


def test_the_function_does_what_its_table_says():
    assert len(table()) == 9
    for known, if_exists in all_cases():
        assert decide(known, if_exists) is by_table(known, if_exists), (known, if_exists)


def test_nothing_that_may_be_replaced_is_refused_and_nothing_proven_is_touched():
    for known, if_exists in all_cases():
        action = decide(known, if_exists)
        if may_replace(known, if_exists):
            assert action not in (Action.REFUSE, Action.LOOK)
        assert (action is Action.SKIP) == (known.is_proven or known.has_failed)


@pytest.mark.parametrize("if_exists", POLICIES)
def test_what_a_listing_found_and_is_not_ours_is_not_sent_over_where_that_is_an_error(if_exists):
    found = Known(held=Held.OTHER_SIZE)
    expected = Action.REFUSE if if_exists == "error" else Action.SEND
    assert decide(found, if_exists) is expected


def test_every_step_of_a_try_comes_to_an_end():
    """The two answers of the destination lead to different actions."""
    for known, if_exists in all_cases():
        if decide(known, if_exists) is Action.ADOPT:
            assert not known.differs
        if decide(known, if_exists) is Action.LOOK:
            assert known.is_there is None


def test_what_a_method_claims_is_compared_and_never_sent_or_refused_in_the_same_try():
    for known, if_exists in all_cases():
        if known.is_claimed:
            action = decide(known, if_exists)
            assert action in (Action.SKIP, Action.ADOPT, Action.LEAVE)
            assert (action is Action.ADOPT) == (
                not (known.is_proven or known.has_failed or known.differs)
            )
        else:
            assert decide(known, if_exists) is not Action.LEAVE


def test_a_method_gets_no_file_whose_place_may_be_taken_by_a_stranger():
    for known, if_exists in all_cases():
        if may_be_given(known, if_exists):
            assert decide(known, if_exists) in (Action.SEND, Action.RESUME)
            assert known.is_ours or if_exists != "error" or known.is_there is False
    assert may_be_given(Known(), "verify")
    assert may_be_given(Known(is_there=False), "error")
    assert may_be_given(Known(is_there=True, is_ours=True), "error")
    assert not may_be_given(Known(is_there=True), "error")
    assert not may_be_given(Known(), "error")  # not looked at
    assert not may_be_given(Known(held=Held.SAME_SIZE), "verify")  # compared first
