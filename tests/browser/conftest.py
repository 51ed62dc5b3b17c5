"""A real browser, driven by Playwright."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from engine.errors import ServiceUnreachable
from tests.services.browser import chromium, environment


@pytest.fixture
async def browser(outside: None) -> AsyncIterator[Any]:
    """Headless; skips with one line when the machine has none."""
    playwright = pytest.importorskip(
        "playwright.async_api", reason="Playwright is missing; pip install -e '.[dev]' brings it"
    )
    try:
        program = chromium()
    except ServiceUnreachable as error:
        pytest.skip(str(error))
    async with playwright.async_playwright() as driver:
        started = await driver.chromium.launch(
            executable_path=str(program), env=environment(program), args=["--no-sandbox", "--disable-gpu"]
        )
        yield started
        await started.close()
