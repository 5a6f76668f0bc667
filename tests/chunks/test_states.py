"""The state manager: any sequence of calls agrees with a plain dictionary."""

from __future__ import annotations

import doctest
import sys
import threading
from collections import Counter

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from jobtool.chunks import StateManager, states

STATES = ("pending", "running", "finished")
OBJECTS = st.one_of(st.integers(0, 5), st.tuples(st.text(max_size=2), st.integers(0, 1)))


class Machine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.manager: StateManager = StateManager(*STATES)
        self.model: dict = {}

    @rule(key=OBJECTS, state=st.sampled_from(STATES))
    def sets(self, key, state: str) -> None:
        self.manager[key] = state
        self.model[key] = state

    @rule(keys=st.lists(OBJECTS), state=st.sampled_from(STATES))
    def sets_all(self, keys, state: str) -> None:
        self.manager.set_all(keys, state)
        self.model.update(dict.fromkeys(keys, state))

    @rule(key=OBJECTS, state=st.text().filter(lambda state: state not in STATES))
    def refuses_other_states(self, key, state: str) -> None:
        with pytest.raises(ValueError, match="pending, running, finished"):
            self.manager[key] = state
        for ask in (
            self.manager.contains_all,
            self.manager.contains_none,
            self.manager.count,
            self.manager.in_state,
        ):
            with pytest.raises(ValueError, match="state: expected one of"):
                ask(state)

    @rule(key=OBJECTS)
    def removes(self, key) -> None:
        if key in self.model:
            del self.model[key]
            del self.manager[key]
        else:
            with pytest.raises(KeyError):
                del self.manager[key]

    @invariant()
    def agrees(self) -> None:
        counts = Counter(self.model.values())
        assert dict(iter(self.manager)) == self.model
        assert self.manager.objects == [*self.model]
        assert len(self.manager) == len(self.model)
        assert self.manager.counts == {state: counts[state] for state in STATES}
        for state in STATES:
            assert self.manager.count(state) == counts[state]
            assert self.manager.in_state(state) == [k for k, v in self.model.items() if v == state]
            assert self.manager.contains_all(state) == (set(self.model.values()) == {state})
            assert self.manager.contains_none(state) == (state not in self.model.values())
        for key, state in self.model.items():
            assert key in self.manager
            assert self.manager[key] == self.manager.get(key, "") == state


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=40, stateful_step_count=30)


def test_the_order_of_states_is_kept_and_shown() -> None:
    manager: StateManager[str] = StateManager("b", "a")
    manager["x"] = "a"
    assert manager.states == ["b", "a"]
    assert repr(manager) == "<StateManager b=0 a=1>"
    assert manager.get("y", "b") == "b"
    with pytest.raises(KeyError):
        manager["y"]


@pytest.mark.parametrize("names", [(), ("a", "a")])
def test_states_are_named_once(names: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="each once"):
        StateManager(*names)


def test_threads_lose_no_count() -> None:
    manager: StateManager[int] = StateManager("a", "b", "c")
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)

    def change(number: int) -> None:
        for turn in range(3000):
            manager[turn % 7] = "abc"[(turn + number) % 3]
            assert sum(manager.counts.values()) <= 7

    try:
        threads = [threading.Thread(target=change, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert manager.counts == {state: len(manager.in_state(state)) for state in manager.states}
    assert sum(manager.counts.values()) == 7


def test_the_example_does_what_it_shows() -> None:
    found = doctest.testmod(states)
    assert found.attempted
    assert not found.failed
