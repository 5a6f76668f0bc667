"""The simulation of routes keeps its own books, and can be repeated."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.benchmarks.routes import Parameters, Simulation, simulate

SMALL = Parameters(petabytes=0.5, workers=100)


def test_the_same_seed_gives_the_same_run() -> None:
    assert simulate(SMALL) == simulate(SMALL)
    assert simulate(SMALL) != simulate(replace(SMALL, seed=2))


def test_without_failures_each_leg_sends_each_byte_once() -> None:
    found = simulate(SMALL.without_failures())
    assert (found.kills, found.outages, found.unpack_failures) == (0, 0, 0)
    assert found.sent_bytes == pytest.approx(found.leg_bytes)
    assert sum(found.by_route.values()) == found.packages == 17
    relayed = found.by_route.get("relay", 0)
    assert relayed > 0
    assert found.leg_bytes == pytest.approx(0.5e15 + relayed * 30e12, abs=30e12)


def test_a_failed_unpack_sends_nothing_again() -> None:
    found = simulate(replace(SMALL.without_failures(), unpack_failure=0.6))
    assert found.unpack_failures > 10
    assert found.interventions > 0
    assert found.sent_bytes == pytest.approx(found.leg_bytes)


def test_a_kill_costs_what_was_in_flight() -> None:
    parameters = replace(SMALL.without_failures(), kill_hours=20.0)
    found = simulate(parameters)
    assert found.kills > 100
    assert 0 < found.sent_bytes - found.leg_bytes <= found.kills * parameters.lost_gb * 1e9


def test_links_bound_what_is_moved() -> None:
    found = simulate(replace(SMALL.without_failures(), room=100.0, worker_mb_s=10000.0))
    assert found.gigabytes_s <= (100 + 40 + 60) / 8
    slow = simulate(replace(SMALL.without_failures(), worker_mb_s=10.0))
    assert slow.gigabytes_s <= 0.4 * SMALL.workers * 0.01


def test_what_fits_nowhere_is_no_endless_run() -> None:
    with pytest.raises(SystemExit, match="fits nowhere"):
        simulate(replace(SMALL.without_failures(), package_tb=500.0, years=0.1))


def test_a_route_copies_no_more_packages_at_a_time_than_it_may() -> None:
    simulation = Simulation(replace(SMALL, most_per_route=2))
    found = simulation.run()
    assert sum(found.by_route.values()) == 17
    assert len(found.by_route) == 3
    assert set(simulation.on_route.values()) == {0}
    assert found.queue_most["a way"] >= 17 - 3 * 2
