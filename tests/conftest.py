"""What all tests share: how fast a machine is decides none of them; and one PostgreSQL server for them all."""

from collections.abc import Iterator

import pytest
from databases import Server, programs, running
from hypothesis import settings

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server is installed")
    with running(found) as server:
        yield server
