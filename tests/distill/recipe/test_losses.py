"""Entries of a recipe's losses: weights over a training, and names."""

import pytest

from distill.recipe.losses import WeightedMethod


@pytest.mark.parametrize(
    ("entry", "weights"),
    [
        ({"weight": 2.0}, [2, 2, 2, 2, 2]),
        ({"weight": 2.0, "ramp_epochs": 4}, [0.5, 1, 1.5, 2, 2]),
        ({"schedule": [[0, 1], [0.5, 1], [1, 0]]}, [1, 1, 1, 0.5, 0]),
        ({"weight": 10.0, "schedule": [[0.25, 0], [0.75, 1]]}, [0, 0, 5, 10, 10]),
        ({"ramp_epochs": 2, "schedule": [[0, 1], [1, 0]]}, [0.5, 0.75, 0.5, 0.25, 0]),
    ],
)
def test_the_weight_of_each_of_five_epochs(entry, weights):
    loss = WeightedMethod.model_validate({"method": "kd", **entry})
    assert [loss.weight_in(epoch, 5) for epoch in range(1, 6)] == pytest.approx(weights)


def test_a_training_of_one_epoch_is_at_the_start_of_its_schedule():
    loss = WeightedMethod.model_validate({"method": "kd", "schedule": [[0, 3], [1, 0]]})
    assert loss.weight_in(1, 1) == 3


@pytest.mark.parametrize("schedule", [[], [[0, 1], [0, 2]], [[0.5, 1], [0.2, 1]], [[2, 1]], [[0, -1]], [[0]], 3])
def test_a_schedule_of_no_meaning_is_refused(schedule):
    with pytest.raises(ValueError, match="schedule"):
        WeightedMethod.model_validate({"method": "kd", "schedule": schedule})


@pytest.mark.parametrize("name", ["", "a b", "a.b", "3d", "-x"])
def test_a_name_that_no_override_could_address_is_refused(name):
    with pytest.raises(ValueError, match="name"):
        WeightedMethod.model_validate({"method": "kd", "name": name})
