"""The API does what its OpenAPI document says, and nothing else, whatever it is sent."""

from typing import Any

import schemathesis
from doubles import films_stores, films_system
from hypothesis import HealthCheck, settings
from schemathesis.config import SchemathesisConfig

from zhiyin.app.service import Service
from zhiyin.web.application import create_app
from zhiyin.web.schemas import LATEST_TIMESTAMP

# A clock at the end of time: what is too late depends on the moment, and a document cannot say it.
# What is wrong and too large as well may be refused for its size.
schema = schemathesis.openapi.from_asgi(
    "/api/openapi.json",
    create_app(Service(films_system(), films_stores(), clock=lambda: LATEST_TIMESTAMP)),
    config=SchemathesisConfig.from_dict(
        {"checks": {"negative_data_rejection": {"expected-statuses": [400, 404, 405, 413, 415, 422, "5xx"]}}}
    ),
)


@schema.parametrize()
# How fast cases are made tells of the machine, not of the API.
@settings(
    max_examples=50,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow],
)
def test_every_answer_is_one_that_the_document_describes(case: schemathesis.Case[Any]) -> None:
    case.call_and_validate()
