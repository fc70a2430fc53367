"""Every world is what a `World` promises, whatever it draws."""

import hashlib
import json
import pickle
import random
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from longtake.errors import ModelError, OptionError, OutputError
from longtake.evaluation.jobs import world_prompts
from longtake.evaluation.world import JUDGE, World, check_judge, judge_of
from longtake.worlds import WorldName, load_world
from longtake.worlds.flight.flight import random_flight

pytestmark = pytest.mark.slow

SIZE = 64, 40


@pytest.fixture(params=WorldName)
def world(request: pytest.FixtureRequest) -> World:
    return load_world(request.param)


def test_a_world_is_a_value(world: World) -> None:
    """Guards what is kept by it in every process of a comparison."""
    again = pickle.loads(pickle.dumps(world))
    assert again == world and hash(again) == hash(world) and world.name in set(WorldName)
    others = {load_world(name) for name in WorldName}
    assert world in others and len(others) == len(WorldName)


def test_prompts_are_read_back(world: World) -> None:
    """All different, fewer the first of more; a caption says what is seen, which is all that the judge reads."""
    prompts, seen = world_prompts(world, 24), set[str]()
    assert prompts[:3] == world_prompts(world, 3) and len({prompt.text for prompt in prompts}) == 24
    for prompt in prompts:
        assert prompt.shot is not None
        shown = prompt.shot.attributes_at(0)
        assert shown == world.described(prompt.text, 0).attributes_at(0)
        seen |= shown.keys()
    assert set(world.attributes) <= seen


def test_more_prompts_than_there_are_is_one_line(world: World) -> None:
    """Guards against a search without end for combinations of attributes that there are not."""
    with pytest.raises(OptionError, match="combinations of attributes out: 4000 prompts are too many"):
        world.prompts(4000)


@pytest.mark.slow
def test_film_is_a_function_of_seed_and_frame(world: World) -> None:
    """Drawn by chance or from a caption; another seed shows other film of the same."""
    shot, captions = world.drawn(3, 2)
    assert captions[0][0] == 0 and world.drawn(3, 2) == (shot, captions)
    described = world.described(captions[0][1], 5)
    other = replace(described, seed=6)
    assert (described.seed, other.attributes_at(9)) == (5, described.attributes_at(9))
    film = described.render(7, 2, *SIZE)
    assert film.shape == (2, *SIZE[::-1], 3) and film.dtype == np.uint8
    np.testing.assert_array_equal(film[1], described.render(8, 1, *SIZE)[0])
    assert (film != other.render(7, 2, *SIZE)).any()


def test_looks_are_within_a_second(world: World) -> None:
    """Of as many frames each, in their order."""
    assert len({len(look) for look in world.looks}) == 1
    assert all(list(look) == sorted(look) and look[0] >= 0 and look[-1] < world.fps for look in world.looks)


def test_who_reads_a_run(world: World, tmp_path: Path) -> None:
    """Guards films of an hour that nobody reads, or that two judges do."""
    own, given = tmp_path / "run" / JUDGE, tmp_path / "judge.safetensors"
    own.parent.mkdir()
    if world.quick_judge:
        check_judge(own.parent, world, None)
    else:
        with pytest.raises(OptionError, match=f"longtake judge {world.name} FILE trains one"):
            check_judge(own.parent, world, None)
    with pytest.raises(OptionError, match=f"longtake judge {world.name} {given} trains one"):
        check_judge(own.parent, world, given)
    given.write_bytes(b"no judge")
    with pytest.raises(ModelError, match="no classifier of this version"):
        judge_of(own.parent, world, given)
    assert own.read_bytes() == given.read_bytes()
    given.write_bytes(b"another")
    with pytest.raises(OutputError, match="has another judge"):
        check_judge(own.parent, world, given)


def digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:16]


def test_what_was_measured_is_drawn_again() -> None:
    """Guards numbers of docs/results.md: their prompts, and a flight that a seed draws, are those of then."""
    prompts = load_world(WorldName.tracking_shot).prompts(60)
    assert digest([(caption, asdict(shot)) for caption, shot in prompts]) == "2edf2fb65bdb720f"
    assert digest(asdict(random_flight(random.Random(4), changes=1, length=60))) == "cc7d13eb48adbae1"
