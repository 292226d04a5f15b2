"""Settings in the environment stand over those of a file."""

import pytest

from zhiyin.app.environment import with_environment
from zhiyin.core.errors import ConfigError
from zhiyin.dataset.settings import PreparationSettings


def test_variables_are_set_over_tables_which_stay_as_they_were() -> None:
    tables = {"preparation": {"history_limit": 9, "events": {"view": {"weight": 0.1, "seen": False}}}}
    found = with_environment(
        tables,
        {
            "ZHIYIN_PREPARATION__EVENTS__VIEW__WEIGHT": "0.25",
            "ZHIYIN_PREPARATION__CLEANING": '["bots"]',
            "ZHIYIN_PREPARATION__RATING_RULE": "scale",
            "ZHIYIN_MODEL__L2": "7",
            "HOME": "/home/someone",
        },
    )
    settings = PreparationSettings(**found["preparation"])
    assert (settings.history_limit, settings.cleaning, settings.rating_rule) == (9, ("bots",), "scale")
    assert (settings.rule("view").weight, settings.rule("view").seen) == (0.25, False)
    assert found["model"] == {"l2": 7}
    assert tables == {"preparation": {"history_limit": 9, "events": {"view": {"weight": 0.1, "seen": False}}}}


@pytest.mark.parametrize(
    "variable", ["ZHIYIN_SEED", "ZHIYIN_MODEL__", "ZHIYIN___L2", "ZHIYIN_PREPARATION__HISTORY_LIMIT__X"]
)
def test_a_variable_that_names_no_setting_is_told(variable: str) -> None:
    with pytest.raises(ConfigError, match=variable):
        with_environment({"preparation": {"history_limit": 9}}, {variable: "1"})
