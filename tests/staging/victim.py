"""``python -m tests.staging.victim STEP NTH COMMAND…``: ``jobtool COMMAND…``, killed at a step."""

from __future__ import annotations

import sys

from tests.faults.victim import STAGING_STEPS, STEPS, UNSTAGING_STEPS, arm, store_class


def main() -> None:
    """Run the command, and die at the step."""
    step, nth, *command = sys.argv[1:]
    arm({**STEPS, **STAGING_STEPS, **UNSTAGING_STEPS}[step], int(nth), store_class("/"))
    from jobtool.cli import main as jobtool

    sys.argv = ["jobtool", *command]
    jobtool.main()


if __name__ == "__main__":
    main()
