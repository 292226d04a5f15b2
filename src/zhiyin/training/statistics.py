"""Sums over users, in the clear."""

import operator
from collections.abc import Callable
from functools import reduce
from typing import Any

from zhiyin.core.arrays import IntVector
from zhiyin.core.errors import InputError

BATCH_USERS = 4096


class PlainStatistics:
    """Adds the contributions of batches of users; the bound matters only to private sums."""

    def sum(self, users: IntVector, per_users: Callable[[IntVector], Any], bound: float) -> Any:
        if not len(users):
            raise InputError("a sum over users needs at least one user")
        # Of sparse sums none is added to a much larger one, which would be copied each time.
        totals: list[Any] = []
        for start in range(0, len(users), BATCH_USERS):
            total = per_users(users[start : start + BATCH_USERS])
            while totals and totals[-1].size <= total.size:
                total = totals.pop() + total
            totals.append(total)
        return reduce(operator.add, reversed(totals))
