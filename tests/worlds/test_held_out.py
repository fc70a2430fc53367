"""Prompts that training never saw."""

from longtake.worlds.flight.scene import every_scene
from longtake.worlds.flight.world import Flights
from longtake.worlds.tracking_shot.shot import every_shot
from longtake.worlds.tracking_shot.world import TrackingShots


def test_prompts_are_held_out_and_distinct() -> None:
    """No combination twice, none that training has seen."""
    shown = (
        [shot for _, shot in TrackingShots().prompts(24)],
        [flight.scene for _, flight in Flights().prompts(24)],
    )
    for one in shown:
        assert all(some.held_out for some in one) and len({some.combination for some in one}) == 24


def test_all_there_are_can_be_asked_for() -> None:
    """Guards the count that a refusal names: 420 of 4,320 tracking shots."""
    shots = {shot.combination: shot for shot in every_shot()}
    assert (len(shots), sum(shot.held_out for shot in shots.values())) == (4320, 420)
    for every, world in ((every_shot(), TrackingShots()), (every_scene(), Flights())):
        known = len({one.combination for one in every if one.held_out})
        assert len(world.prompts(known)) == known
