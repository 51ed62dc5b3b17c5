"""What the people of the demo do, before anything runs."""

from engine.demo.cast import cast
from engine.demo.crowd import crowd
from engine.demo.perform import monday_for
from engine.demo.script import DAY_MS, DAYS, Person, ScriptedAct

START_MS = 1_772_409_600_000  # Monday, 2 March 2026


def acts(people: list[Person]) -> list[ScriptedAct]:
    return [act for one in people for act in one.acts]


def test_the_same_seed_gives_the_same_crowd() -> None:
    """To the last id."""
    assert crowd(40, seed=7, start_ms=START_MS) == crowd(40, seed=7, start_ms=START_MS)


def test_another_seed_gives_another_crowd() -> None:
    """Other people with other habits."""
    assert crowd(40, seed=7, start_ms=START_MS) != crowd(40, seed=8, start_ms=START_MS)


def test_a_smaller_crowd_is_the_beginning_of_a_larger_one() -> None:
    """So that a short demo shows some of the people of a long one."""
    assert crowd(60, seed=7, start_ms=START_MS)[:20] == crowd(20, seed=7, start_ms=START_MS)


def test_ids_are_unique() -> None:
    """Nobody's event is taken for the repetition of another's."""
    everybody = cast(START_MS) + crowd(200, seed=7, start_ms=START_MS)
    ids = [act.body["messageId"] for act in acts(everybody) if act.body]
    assert len(ids) == len(set(ids))
    assert len({one.id for one in everybody}) == len(everybody)


def test_the_leading_parts_have_time_for_their_stories() -> None:
    """What they do lies in the first half; the rest of the time belongs to the timers."""
    assert max(act.at_ms for act in acts(cast(START_MS))) < START_MS + DAYS * DAY_MS * 2 // 3
    assert min(act.at_ms for act in acts(cast(START_MS))) >= START_MS


def test_addresses_can_belong_to_nobody() -> None:
    """Mail goes to `.example`, numbers are those for fiction."""
    for one in cast(START_MS) + crowd(300, seed=7, start_ms=START_MS):
        assert not one.email or one.email.endswith(".example")
        assert str(one.traits.get("phone", "+4917139200")).startswith("+4917139200") or "55501" in one.traits["phone"]


def test_the_demo_ends_in_the_week_that_is_over() -> None:
    """It begins on a Monday, and its last day is at most a week ago, so that `anlass run` goes on nearly from there."""
    for now_ms in (START_MS, START_MS + DAY_MS * 3 + 17, START_MS + DAY_MS * 6):
        start_ms = monday_for(now_ms)
        assert (start_ms // DAY_MS + 3) % 7 == 0
        assert 0 <= now_ms - (start_ms + DAYS * DAY_MS) < 7 * DAY_MS
