"""The figures that use cases report, under names that commands and pages import without reaching into a stage."""

from zhiyin.evaluation.intervals import Interval
from zhiyin.evaluation.leaderboard import Leaderboard, LeaderboardRow

__all__ = ["Interval", "Leaderboard", "LeaderboardRow"]
