"""The states of objects: which is in which, and how many are in each."""

from __future__ import annotations

import threading
from collections.abc import Hashable, Iterable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class StateManager(Generic[K]):
    """Tracks the state of any hashable objects. Threads may use it.

    Only the ``states`` that it is made with are valid: others raise ``ValueError``, and the
    object's state stays. Setting and counting take constant time, whatever the number of objects.

    Examples:
        >>> manager = StateManager("pending", "finished")
        >>> manager["a"] = "pending"
        >>> manager["b"] = "finished"
        >>> manager["a"], manager.counts
        ('pending', {'pending': 1, 'finished': 1})
        >>> manager["a"] = "finished"
        >>> manager.contains_all("finished")
        True
    """

    __slots__ = ("_counts", "_lock", "_objects")

    def __init__(self, *states: str) -> None:
        if not states or len(set(states)) != len(states):
            raise ValueError(f"states: expected one or more, each once; found {states!r}")
        self._counts = dict.fromkeys(states, 0)
        self._objects: dict[K, str] = {}
        self._lock = threading.Lock()

    @property
    def states(self) -> list[str]:
        """The valid states, in the order in which they were given."""
        return [*self._counts]

    @property
    def objects(self) -> list[K]:
        """All objects, in the order in which each was first set."""
        with self._lock:
            return [*self._objects]

    @property
    def counts(self) -> dict[str, int]:
        """How many objects are in each state."""
        with self._lock:
            return dict(self._counts)

    def count(self, state: str) -> int:
        """Return how many objects are in a state."""
        return self.counts[self._valid(state)]

    def in_state(self, state: str) -> list[K]:
        """Return the objects in a state."""
        self._valid(state)
        with self._lock:
            return [found for found, its in self._objects.items() if its == state]

    def contains_all(self, state: str) -> bool:
        """Return True if there are objects and all of them are in one state."""
        self._valid(state)
        with self._lock:
            return 0 < len(self._objects) == self._counts[state]

    def contains_none(self, *states: str) -> bool:
        """Return True if no object is in any of the states."""
        counts = self.counts
        return not any(counts[self._valid(state)] for state in states)

    def set_all(self, objects: Iterable[K], state: str) -> None:
        """Put many objects into one state."""
        for found in objects:
            self[found] = state

    def _valid(self, state: str) -> str:
        if state not in self._counts:
            raise ValueError(f"state: expected one of {', '.join(self._counts)}; found {state!r}")
        return state

    def __setitem__(self, key: K, state: str) -> None:
        self._valid(state)
        with self._lock:
            before = self._objects.get(key)
            self._objects[key] = state
            self._counts[state] += 1
            if before is not None:
                self._counts[before] -= 1

    def __getitem__(self, key: K) -> str:
        return self._objects[key]

    def get(self, key: K, default: str) -> str:
        """Return an object's state, or ``default`` if it was never set."""
        return self._objects.get(key, default)

    def __delitem__(self, key: K) -> None:
        with self._lock:
            self._counts[self._objects.pop(key)] -= 1

    def __contains__(self, key: object) -> bool:
        return key in self._objects

    def __len__(self) -> int:
        return len(self._objects)

    def __iter__(self) -> Iterator[tuple[K, str]]:
        with self._lock:
            return iter([*self._objects.items()])

    def __repr__(self) -> str:
        counts = " ".join(f"{state}={count}" for state, count in self.counts.items())
        return f"<StateManager {counts}>"
