"""Sums over users, in the clear."""

from collections.abc import Callable
from typing import Any

from zhiyin.core.arrays import IntVector
from zhiyin.core.errors import InputError

BATCH_USERS = 4096


class PlainStatistics:
    """Adds the contributions of batches of users; the bound matters only to private sums."""

    def sum(self, users: IntVector, per_users: Callable[[IntVector], Any], bound: float) -> Any:
        if not len(users):
            raise InputError("a sum over users needs at least one user")
        total = per_users(users[:BATCH_USERS])
        for start in range(BATCH_USERS, len(users), BATCH_USERS):
            total = total + per_users(users[start : start + BATCH_USERS])
        return total
