"""Steps from the entry points of installed packages."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from jobtool.errors import UnmetRequirementError, UsageError
from jobtool.jobs.job import COPY
from jobtool.names import in_one_line
from jobtool.plugins import STEPS, find, names
from jobtool.steps.step import Step
from jobtool.suggest import did_you_mean


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
                    self._makers[name] = _maker_of(name)
                    continue
                except UnmetRequirementError as error:
                    self._lacks[name] = str(error)
            raise UnmetRequirementError(self._lacks[name])

    def make(self, name: str) -> Step:
        """Return a new step; raises ``UnmetRequirementError``."""
        self.require((name,))
        return self._makers[name]()


def _maker_of(name: str) -> Callable[[], Step]:
    """Load the entry point of a step; raises ``UnmetRequirementError``."""
    try:
        point = find(STEPS, name)
    except UsageError as error:
        raise UnmetRequirementError(
            f"its step can't be chosen: {error}. Uninstall all but one."
        ) from None
    if point is None:
        hint = did_you_mean(name, {COPY, *names(STEPS)})
        raise UnmetRequirementError(
            f"no package that is installed here provides its step {name!r} (entry point of the "
            f"group {STEPS}).{hint} Install the package where workers run."
        )
    try:
        maker: Callable[[], Step] = point.load()
        made = maker()
        called = made.name if callable(getattr(made, "run", None)) else None
    except Exception as error:  # a package of others may raise anything
        said = in_one_line(f"{type(error).__name__}: {error}")
        raise UnmetRequirementError(
            f"its step {name!r}, which is {point.value}, can't be loaded here: {said}"
        ) from None
    if called != name:
        raise UnmetRequirementError(
            f"its step {name!r}, which is {point.value}: expected a step of that name, with a "
            f"method run; found {type(made).__name__}" + (f" {called!r}" if called else "")
        )
    return maker
