"""XGBoost ensembles (Chen and Guestrin, 2016) that tell what is liked from what is not."""

from typing import Any

import numpy as np
import xgboost
from numpy.typing import NDArray
from pydantic import Field

from zhiyin.core.arrays import FloatMatrix
from zhiyin.models.stored import ModelConfig

# Threads that wait for each other spin, and where a core is taken one alone is several times as fast.
_ONE_THREAD = {"nthread": 1}


class TreesConfig(ModelConfig):
    """trees, depth, learning_rate, min_child_weight: of the ensemble."""

    trees: int = Field(default=100, ge=1)
    depth: int = Field(default=4, ge=1, le=16)
    learning_rate: float = Field(default=0.1, gt=0, le=1)
    min_child_weight: float = Field(default=1.0, ge=0)


def grown(
    table: FloatMatrix, liked: NDArray[np.float32], sizes: TreesConfig, seed: int, **more: Any
) -> xgboost.Booster:
    """Trees with logistic loss over the rows of `table`. liked: (rows,) 1 or 0. more: settings of XGBoost's own."""
    settings = {
        "objective": "binary:logistic",
        "max_depth": sizes.depth,
        "learning_rate": sizes.learning_rate,
        "min_child_weight": sizes.min_child_weight,
        "tree_method": "hist",
        "seed": seed,
        "verbosity": 0,
        **_ONE_THREAD,
        **more,
    }
    return xgboost.train(settings, xgboost.DMatrix(table, liked), sizes.trees)


def as_array(booster: xgboost.Booster) -> NDArray[np.uint8]:
    return np.frombuffer(bytes(booster.save_raw("ubj")), np.uint8)


def from_array(told: NDArray[Any]) -> xgboost.Booster:
    """What `as_array` wrote."""
    booster = xgboost.Booster(_ONE_THREAD)
    booster.load_model(bytearray(np.asarray(told).tobytes()))
    return booster
