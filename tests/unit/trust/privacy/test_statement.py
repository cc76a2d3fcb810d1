"""What is said of private training: no model is called private of which only a step was."""

from __future__ import annotations

from jettison.domain.recipe import Recipe, Step
from jettison.domain.run import Trial
from jettison.trust.privacy.statement import privacy_notes

RUNTIME = Step("torch_eager")
PRIVATE = Step("recover_private", {"epsilon": 4.0, "delta": 1e-5})


def trial(number: int, *steps: Step) -> Trial:
    return Trial(number, Recipe(steps, RUNTIME), "complete", "", None, None, 1.0)


def test_nothing_is_said_without_a_private_step() -> None:
    """Neither of other recipes, nor where nothing ships."""
    trials = [trial(0, Step("wanda")), trial(1, PRIVATE)]
    assert privacy_notes(trials, trials[0].recipe.digest) == ()
    assert privacy_notes(trials, "") == ()


def test_a_step_that_reads_rows_forbids_the_name() -> None:
    """The step is named with the epsilon, and the model is not called private."""
    trials = [trial(0, Step("wanda"), PRIVATE)]
    (note,) = privacy_notes(trials, trials[0].recipe.digest)
    assert "must not be called differentially private" in note
    assert "`wanda` read the same rows" in note
    assert "(epsilon, delta) = (at most 4, 1e-05)" in note


def test_other_private_trials_add_up() -> None:
    """Choosing among several spends what all of them spent."""
    other = Step("recover_private", {"epsilon": 8.0, "delta": 2e-5})
    trials = [trial(0, PRIVATE), trial(1, other)]
    (note,) = privacy_notes(trials, trials[0].recipe.digest)
    assert "among 2 private trainings" in note
    assert "add up to (epsilon, delta) = (at most 12, 3e-05)" in note


def test_alone_it_may_be_said() -> None:
    """With the limit that the original may have read the rows."""
    trials = [trial(0, PRIVATE, Step("export_onnx")), trial(1, Step("wanda"))]
    (note,) = privacy_notes(trials, trials[0].recipe.digest)
    assert "is differentially private, (epsilon, delta) = (at most 4, 1e-05) with" in note
    assert "original" in note
