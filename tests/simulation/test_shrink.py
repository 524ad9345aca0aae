"""A failing story is shrunk to a short one that fails in the same way."""

from __future__ import annotations

import attrs
import pytest

from actors.audit import Violation
from actors.simulator.plan import Flaw, Plan, PriceMoves, Propose, Step, Strike
from actors.simulator.shrink import shrink, signature, simpler_steps
from actors.simulator.simulation import Outcome, simulate
from actors.simulator.story import last_messages, plan_as_text
from actors.simulator.workload import plan_of
from tests.simulation import defects

SEEDS = range(1, 60)


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[Outcome]:
    """Stories in which an engine is caught that sends before it commits."""
    defects.sends_before_the_intent_is_committed(monkeypatch)
    outcomes = (simulate(plan_of(seed, 1)) for seed in SEEDS)
    return [outcome for outcome in outcomes if outcome.violation is not None][:4]


def test_a_defect_is_found_and_told_in_a_few_steps(failing: list[Outcome]) -> None:
    assert len(failing) == 4
    for outcome in failing:
        shrunken = shrink(outcome)

        assert outcome.violation is not None
        assert outcome.violation.invariant == "I1"
        assert signature(shrunken.outcome.violation) == signature(outcome.violation)
        assert len(shrunken.plan.steps) <= 4
        assert len(shrunken.plan.steps) < len(outcome.plan.steps)
        assert any(isinstance(step, Propose) for step in shrunken.plan.steps)


def test_the_shrunken_plan_fails_by_itself(failing: list[Outcome]) -> None:
    shrunken = shrink(failing[0])

    again = simulate(shrunken.plan)

    assert again.violation == shrunken.outcome.violation
    assert again.trace_hash == shrunken.outcome.trace_hash


def test_shrinking_is_the_same_every_time(failing: list[Outcome]) -> None:
    assert shrink(failing[0]).plan == shrink(failing[0]).plan


def test_attempts_are_bounded(failing: list[Outcome]) -> None:
    assert shrink(failing[0], attempts_max=7).attempts <= 7
    assert shrink(failing[0], attempts_max=0).plan == failing[0].plan


def test_what_ends_well_is_not_shrunk() -> None:
    with pytest.raises(ValueError, match="ends well"):
        shrink(simulate(attrs.evolve(plan_of(1, 1), steps=())))


def test_only_what_the_failure_needs_is_left() -> None:
    """With a simulation that fails by a rule of our own: both a strike and, later, a large move are needed."""
    outcome = simulate(attrs.evolve(plan_of(1, 1), steps=()))

    def run(plan: Plan) -> Outcome:
        steps = plan.steps
        strikes = [at for at, step in enumerate(steps) if isinstance(step, Strike)]
        moves = [at for at, step in enumerate(steps) if isinstance(step, PriceMoves) and step.move_bps >= 100]
        fails = bool(strikes and moves) and strikes[0] < moves[-1]
        violation = Violation("I9", f"after {len(steps)} steps") if fails else None
        return attrs.evolve(outcome, plan=plan, violation=violation, acted=len(steps))

    seed = next(seed for seed in range(1, 999) if run(plan_of(seed, 5)).violation is not None)
    shrunken = shrink(run(plan_of(seed, 5)), run=run)

    strike, move = shrunken.plan.steps
    assert isinstance(strike, Strike)
    assert (strike.amount, strike.after_us) == (1, 0)
    assert isinstance(move, PriceMoves)
    assert move.after_us == 0
    assert list(plan_as_text(shrunken.plan))[:2] == ["settings: the defaults", "pace: calm"]


def test_simpler_steps_come_to_an_end() -> None:
    for seed in range(30):
        for step in plan_of(seed, 3).steps:
            for _ in range(200):
                following = next(simpler_steps(step), None)
                if following is None:
                    break
                step = following  # noqa: PLW2901 - The step itself gets simpler.
            else:
                pytest.fail(f"{step} never comes to an end")
            assert not isinstance(step, Propose) or step.flaw is Flaw.NONE


def test_a_signature_tells_failures_apart_and_ids_not() -> None:
    one = Violation("I1", "order 95f3b172-0f5f-4cb9-a15e-3b9c6d6b0d0d of 0.5 is sent")
    same = Violation("I1", "order 11111111-2222-4333-a444-555555555555 of 1,250.75 is sent")

    assert signature(one) == signature(same)
    assert signature(one) != signature(attrs.evolve(one, invariant="I2"))
    assert signature(one) != signature(attrs.evolve(one, text="order 5 is lost"))
    assert signature(None) is None


def test_a_story_is_readable(failing: list[Outcome]) -> None:
    shrunken = shrink(failing[0])

    plan = list(plan_as_text(shrunken.plan))
    messages = list(last_messages(shrunken.outcome.began_us, shrunken.outcome.story))

    assert any("a strategy buys" in line or "a strategy sells" in line for line in plan)
    assert "exchange" in messages[-1]
    assert "PlaceOrder order=" in messages[-1]
    assert not any(" Tick " in line for line in messages)
    assert len(messages) <= 50


def test_every_kind_of_step_can_be_told() -> None:
    told = {type(step).__name__: line for seed in range(60) for step, line in _told(seed)}

    assert {kind.__name__ for kind in Step.__subclasses__()} == set(told)
    assert all(told.values())


def _told(seed: int) -> list[tuple[Step, str]]:
    plan = plan_of(seed, 3)
    return list(zip(plan.steps, list(plan_as_text(plan))[2:], strict=True))
