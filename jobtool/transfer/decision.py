"""The decision what to do with one file, as a pure function of what is known about it."""

from __future__ import annotations

from enum import Enum

import msgspec

from jobtool.transfer.policies import IfExists


class Held(Enum):
    """What the destination's listing has at a file's path, compared with the source's size."""

    NOTHING = "nothing"
    SAME_SIZE = "a file of the same size"
    OTHER_SIZE = "a file of another size"  # or one that was compared, and differs
    UNKNOWN = "unknown"  # the credentials don't allow a look


class Action(Enum):
    """What to do with a file."""

    SKIP = "skip"  # it is proven, or has failed in this attempt
    ADOPT = "adopt"  # compare by digest, and keep the file at the destination if it is the same
    LOOK = "look"  # ask the destination again whether a file is there
    RESUME = "resume"  # continue the upload of an earlier try or attempt
    SEND = "send"
    LEAVE = "leave"  # the claimed file isn't the same, or isn't there: the next method gets it
    REFUSE = "refuse"  # another program's file is there, and --if-exists error was asked for


class Known(msgspec.Struct, frozen=True, kw_only=True):
    """What is known about one file at this moment.

    ``is_ours``: a record says that the job has written the destination. ``is_tried``: in this
    attempt, this worker or a helper may have put the file there without a receipt.
    ``is_taken_up``: an earlier attempt may have done so. ``is_claimed``: a method says that the
    file has arrived, or the file is compared before a method gets it; nothing is sent in this try.
    ``has_upload``: an upload can be resumed. ``differs``: in this try the file there was compared,
    and it isn't the same. ``is_there``: the destination's answer in this try, None if not asked.
    """

    is_proven: bool = False
    has_failed: bool = False
    held: Held = Held.NOTHING
    is_ours: bool = False
    is_tried: bool = False
    is_taken_up: bool = False
    is_claimed: bool = False
    has_upload: bool = False
    differs: bool = False
    is_there: bool | None = None


def decide(known: Known, if_exists: IfExists) -> Action:
    """Return what to do with a file: the action of the first matching row.

    *There* means that the listing found a file, or that the file ``is_tried``; *ours* that
    ``is_ours``; *perhaps* that ``is_tried`` or ``is_taken_up``; *same* that a file of the same size
    was found or that the file ``is_tried`` or ``is_claimed``, and that it doesn't differ. A dash
    stands for anything. *Go on* is ``RESUME`` if the file ``has_upload``, else ``SEND``.

    ==== ======= ===== ============= ==== ======= ==== ======== ======
    over claimed there if_exists     ours perhaps same is_there action
    ==== ======= ===== ============= ==== ======= ==== ======== ======
    yes  --      --    --            --   --      --   --       SKIP
    no   yes     --    --            --   --      yes  --       ADOPT
    no   yes     --    --            --   --      no   --       LEAVE
    no   no      no    --            --   --      --   --       go on
    no   no      yes   error         no   no      --   --       REFUSE
    no   no      yes   verify, error --   --      yes  --       ADOPT
    no   no      yes   error         no   yes     no   None     LOOK
    no   no      yes   error         no   yes     no   True     REFUSE
    no   no      yes   --            --   --      --   --       go on
    ==== ======= ===== ============= ==== ======= ==== ======== ======

    *Over* is a file that is proven, or that has failed in this attempt.
    """
    if known.is_proven or known.has_failed:
        return Action.SKIP
    if known.is_claimed:
        return Action.LEAVE if known.differs else Action.ADOPT
    go_on = Action.RESUME if known.has_upload else Action.SEND
    if not (known.is_tried or known.held in (Held.SAME_SIZE, Held.OTHER_SIZE)):
        return go_on
    is_foreign = not may_replace(known, if_exists)
    if is_foreign and not (known.is_tried or known.is_taken_up):
        return Action.REFUSE
    may_be_same = (known.is_tried or known.held is Held.SAME_SIZE) and not known.differs
    if may_be_same and if_exists != "overwrite":
        return Action.ADOPT
    if is_foreign and known.is_there is None:
        return Action.LOOK
    return Action.REFUSE if is_foreign and known.is_there else go_on


def may_be_given(known: Known, if_exists: IfExists) -> bool:
    """Return True if a method may be given the file.

    Only a file that would be sent may. A method can't be trusted to keep another program's file at
    the destination. So with ``if_exists`` ``error`` the destination must also have answered in this
    try that no file ``is_there``, unless the file there is the job's own.
    """
    if decide(known, if_exists) not in (Action.SEND, Action.RESUME):
        return False
    return may_replace(known, if_exists) or known.is_there is False


def may_replace(known: Known, if_exists: IfExists) -> bool:
    """Return True if a file at the destination may be replaced."""
    return if_exists != "error" or known.is_ours
