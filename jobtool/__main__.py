"""``python -m jobtool``: the same as ``jobtool``."""

from jobtool.cli.main import cli

cli(prog_name="jobtool")
