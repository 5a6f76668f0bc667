"""A ``jobtool release`` that kills itself at a named step, as the kernel would: SIGKILL.

Run as ``python -m tests.release.victim STEP NTH JOBLIST [--empty-trash]``: it dies at the NTH time
that STEP is reached, or ends with the command's exit code.
"""

from __future__ import annotations

import sys

from tests.faults.victim import MOVING_STEPS, REMOVING_STEPS, RETURNING_STEPS, arm


def main() -> None:
    """Release a joblist, and die at the step."""
    step, nth, joblist, *options = sys.argv[1:]
    steps = {**MOVING_STEPS, **REMOVING_STEPS, **RETURNING_STEPS}
    arm(steps[step], int(nth), "jobtool.stores.local:LocalStore")
    from jobtool.cli.release import cli

    cli.main([joblist, "--yes", "--keep-days", "0", *options], standalone_mode=False)


if __name__ == "__main__":
    main()
