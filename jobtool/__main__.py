"""``python -m jobtool``: the same as ``jobtool``."""

from __future__ import annotations

from jobtool.cli.main import main

if __name__ == "__main__":
    main()
