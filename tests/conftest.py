"""What tests share: how fast a machine is decides none of them; one PostgreSQL server for all, a browser a file."""

import shutil
from collections.abc import Iterator

import pytest
from databases import Server, programs, running
from hypothesis import settings
from playwright.sync_api import Browser, sync_playwright

settings.register_profile("patient", deadline=None)
settings.load_profile("patient")


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL server is installed")
    with running(found) as server:
        yield server


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Not longer: its loop keeps this thread from running any other."""
    found = shutil.which("chromium")
    if found is None:
        pytest.skip("pages are not tested: there is no `chromium` on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox", "--disable-gpu"])
        yield browser
        browser.close()
