"""The worked example of the documentation: one user, three items, arithmetic by hand."""

import numpy as np

from zhiyin.core.dataset import Query
from zhiyin.core.histories import History
from zhiyin.models.attentive_ratings import AttentiveRatings

RATINGS = np.array([5.0, 3.0, 1.0])
ITEMS = np.array([[1.0, 0.0, -1.0], [0.0, 1.0, 0.0], [-1.0, -1.0, 1.0]])
USER = np.ones(3)


def test_attention_weights_and_the_leaking_prediction() -> None:
    weights = np.tanh(ITEMS @ USER)
    np.testing.assert_allclose(weights, [0, 0.7616, -0.7616], atol=5e-5)
    sigmoid = 1 / (1 + np.exp(-1))
    np.testing.assert_allclose(sigmoid * RATINGS[1] - sigmoid * RATINGS[2], 1.462, atol=5e-4)
    np.testing.assert_allclose(weights @ RATINGS, 1.523, atol=5e-4)


def test_the_error_as_printed_and_as_it_is() -> None:
    printed = np.array([0, 0.731, 0.731])
    np.testing.assert_allclose(np.mean((RATINGS - printed) ** 2), 10.074, atol=5e-4)


def test_no_target_is_its_own_evidence() -> None:
    weights = np.tanh(ITEMS @ USER)
    predictions = np.array([np.delete(weights * RATINGS, target).sum() for target in range(3)])
    np.testing.assert_allclose(predictions, [1.523, -0.762, 2.285], atol=5e-4)
    np.testing.assert_allclose(np.mean((RATINGS - predictions) ** 2), 9.296, atol=5e-4)


def test_the_model_for_ratings_does_the_same_sums() -> None:
    """With the user's vector for every target, no biases and no means, `attentive-ratings` is the page's arithmetic.

    What it adds is the square root of how many ratings speak, two here.
    """
    model = AttentiveRatings(AttentiveRatings.Config(dim=3))
    padding = np.zeros((1, 3))
    model.load_parameters(
        {
            "item_bias": np.zeros(3),
            "targets.weight": np.concatenate([np.tile(USER, (3, 1)), padding]),
            "keys.weight": np.concatenate([ITEMS, padding]),
            "attention_bias": np.zeros(1),
            "log_caution": np.array([50.0]),
            "centre": np.zeros(1),
            "scale": np.array([1.0, 5.0]),
            "rated": np.ones(1),
        }
    )
    history = History(np.arange(3), np.ones(3, np.float32), RATINGS.astype(np.float32), np.arange(3))
    predictions = model.score([Query(history, now=3)])[0] * np.sqrt(2)
    np.testing.assert_allclose(predictions, [1.523, -0.762, 2.285], atol=5e-4)
    shares = model.contributions(Query(history, now=3), np.arange(3)).parts
    np.testing.assert_allclose(np.diag(shares), 0.0)
