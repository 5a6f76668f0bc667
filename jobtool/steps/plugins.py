"""Steps from the entry points of installed packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jobtool.errors import UnmetRequirementError
from jobtool.jobs.job import COPY
from jobtool.plugins import STEPS, maker_of
from jobtool.steps.step import Step


class StepPlugins:
    """Finds the steps that jobs name. Each is imported when a job first names it."""

    def __init__(self) -> None:
        self._makers: dict[str, Callable[[], Step]] = {}
        self._lacks: dict[str, str] = {}  # why a step can't be used, reported for each job

    def require(self, chain: Iterable[str]) -> None:
        """Raise ``UnmetRequirementError`` if a step of the chain can't be used here."""
        for name in chain:
            if name == COPY or name in self._makers:
                continue
            if name not in self._lacks:
                try:
                    self._makers[name] = maker_of(
                        name,
                        group=STEPS,
                        what="its step",
                        kind="step",
                        built_in=COPY,
                        needs=("run",),
                        error=UnmetRequirementError,
                    )
                    continue
                except UnmetRequirementError as error:
                    self._lacks[name] = str(error)
            raise UnmetRequirementError(self._lacks[name])

    def make(self, name: str) -> Step:
        """Return a new step; raises ``UnmetRequirementError``."""
        self.require((name,))
        return self._makers[name]()
