"""Expected ratings from a matrix factorisation with biases."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy import sparse

from zhiyin.core.arrays import FloatMatrix, FloatVector
from zhiyin.core.dataset import Dataset, Query
from zhiyin.core.histories import History
from zhiyin.core.models import Candidates, FitReport, Run, gather
from zhiyin.models.inputs import Sparse
from zhiyin.models.stored import ModelConfig, StoredModel

Tensor = NDArray[np.float64]

BIAS_SHARE = 0.2
FIXED_VARIANCE = 0.01
START_PRECISION = 2.0
PRIOR_STRENGTH = 3.0
PRIOR_VARIANCE = 0.05


class BiasedMF(StoredModel):
    """rating = mean + p_u . q_i + noise, by variational Bayes (Lim and Teh, 2007) with learned Gaussian priors.

    The prior mean of the items is 1 in the first place and that of the users 1 in the second, which makes
    p_u[0] the user's bias and q_i[1] the item's; the prior covariances take the part of the penalties of ridge
    regression and are learned with the noise, so nothing but the number of factors is left to choose. A user is
    folded in from the ratings of a query by the same ridge regression that fits known users. Where the data has no
    ratings, the weights of events stand in for them.
    """

    class Config(ModelConfig):
        """factors: latent dimensions besides the two biases. sweeps: passes over users and items."""

        factors: int = Field(default=10, ge=0)
        sweeps: int = Field(default=20, ge=1)

    name: ClassVar[str] = "biased-mf"
    arrays: ClassVar[frozenset[str]] = frozenset(
        {"centre", "scale", "rated", "noise_precision", "user_mean", "user_precision", "item_vectors", "item_moments"}
    )
    search: ClassVar[tuple[dict[str, Any], ...]] = ({"factors": 5}, {"factors": 10}, {"factors": 20})
    config: Config

    def fit(self, data: Dataset, run: Run) -> FitReport:
        events, shape = data.histories, (len(data.histories), len(data.items))
        rated = data.rating_scale is not None and bool(np.isfinite(events.ratings).any())
        values = (events.ratings if rated else events.weights).astype(np.float64)
        known = np.isfinite(values)
        values, users, items = values[known], events.users[known], events.items[known]
        scale = data.rating_scale if rated else _span(values)
        centre = float(values.mean()) if len(values) else 0.0
        rest: Sparse = sparse.csr_matrix((values - centre, (users, items)), shape)
        count: Sparse = sparse.csr_matrix((np.ones(len(values)), (users, items)), shape)
        rest_t, count_t = rest.T.tocsr(), count.T.tocsr()
        squares = float(((values - centre) ** 2).sum())

        size = self.config.factors + 2
        variance = max(squares / max(1, len(values)), 1e-9)
        # Factors that start too small to explain the ratings between them are pruned before they find their pattern.
        free = [np.sqrt(variance / max(1, self.config.factors))] * self.config.factors
        bias = BIAS_SHARE * variance
        user_prior = _Prior(np.eye(size)[1], np.diag([bias, FIXED_VARIANCE, *free]))
        item_prior = _Prior(np.eye(size)[0], np.diag([FIXED_VARIANCE, bias, *free]))
        generator = np.random.default_rng(run.seed)
        start = generator.standard_normal((shape[1], size)) * np.sqrt(np.diag(item_prior.covariance))
        item_vectors: Tensor = item_prior.mean + start
        item_moments = _moments(item_vectors, np.zeros((shape[1], size, size)))
        precision = START_PRECISION / variance
        losses = []
        for sweep in range(self.config.sweeps):
            user_vectors, user_covariance, _ = _posterior(
                rest, count, item_vectors, item_moments, prior=user_prior, noise=precision
            )
            user_prior = _Prior.of(user_vectors, user_covariance)
            user_moments = _moments(user_vectors, user_covariance)
            item_vectors, item_covariance, sums = _posterior(
                rest_t, count_t, user_vectors, user_moments, prior=item_prior, noise=precision
            )
            item_prior = _Prior.of(item_vectors, item_covariance)
            item_moments = _moments(item_vectors, item_covariance)
            explained = 2.0 * float((item_vectors * (rest_t @ user_vectors)).sum()) - float((item_moments * sums).sum())
            error = max(squares - explained, 1e-6 * max(1, len(values)))
            precision = len(values) / error if len(values) else 1.0
            losses.append({"loss": error / max(1, len(values))})
            run.progress.epoch(sweep + 1, self.config.sweeps, losses[-1])
        self.load_parameters(
            {
                "centre": np.array([centre]),
                "scale": np.array(scale, np.float64),
                "rated": np.array([rated], np.uint8),
                "noise_precision": np.array([precision]),
                "user_mean": user_prior.mean,
                "user_precision": np.linalg.inv(user_prior.covariance),
                "item_vectors": item_vectors,
                "item_moments": item_moments,
            }
        )
        return FitReport(history=tuple(losses))

    def score(self, queries: Sequence[Query], candidates: Candidates | None = None) -> FloatMatrix:
        """Expected ratings before they are cut to the scale, so that favourites keep their order."""
        parameters = self.parameters()
        vectors = np.array([self._fold_in(query.history, parameters) for query in queries])
        vectors = vectors.reshape(len(queries), len(parameters["user_mean"]))
        scores = parameters["centre"][0] + vectors @ parameters["item_vectors"].T
        return gather(scores, candidates)

    def predict_ratings(self, queries: Sequence[Query], candidates: Candidates) -> FloatMatrix:
        """(queries, candidates) expected ratings, cut to the scale of the data."""
        low, high = self.parameters()["scale"]
        return np.clip(self.score(queries, candidates), low, high)

    def _fold_in(self, history: History, parameters: Mapping[str, NDArray[Any]]) -> FloatVector:
        values = (history.ratings if parameters["rated"][0] else history.weights).astype(np.float64)
        known = np.isfinite(values) & (history.items >= 0) & (history.items < len(parameters["item_vectors"]))
        items, rest = history.items[known], values[known] - parameters["centre"][0]
        noise, precision = parameters["noise_precision"][0], parameters["user_precision"]
        left = precision + noise * parameters["item_moments"][items].sum(axis=0)
        right = precision @ parameters["user_mean"] + noise * (rest @ parameters["item_vectors"][items])
        return np.linalg.solve(left, right)


class _Prior:
    """A Gaussian that the vectors of one side are drawn from."""

    def __init__(self, mean: Tensor, covariance: Tensor) -> None:
        self.mean, self.covariance = mean, covariance

    @classmethod
    def of(cls, vectors: Tensor, covariances: Tensor) -> "_Prior":
        """The likeliest Gaussian under the posteriors, held off collapse by a weak inverse-Wishart prior."""
        mean = vectors.mean(axis=0)
        spread = covariances.sum(axis=0) + (vectors - mean).T @ (vectors - mean)
        held = PRIOR_STRENGTH * PRIOR_VARIANCE * np.eye(len(mean))
        return cls(mean, (spread + held) / (len(vectors) + PRIOR_STRENGTH))


def _posterior(
    rest: Sparse, count: Sparse, other: Tensor, moments: Tensor, *, prior: _Prior, noise: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Means (n, k), covariances (n, k, k), and per row the summed second moments of its partners (n, k, k)."""
    size = other.shape[1]
    sums = (count @ moments.reshape(len(other), -1)).reshape(-1, size, size)
    precision = np.linalg.inv(prior.covariance)
    covariance = np.linalg.inv(precision + noise * sums)
    means = np.einsum("nab,nb->na", covariance, precision @ prior.mean + noise * (rest @ other))
    return means, covariance, sums


def _moments(means: Tensor, covariances: Tensor) -> Tensor:
    return covariances + means[:, :, None] * means[:, None, :]


def _span(values: FloatVector) -> tuple[float, float]:
    return (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
