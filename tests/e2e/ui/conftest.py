"""A real browser on the built dashboard, with canned answers behind it."""

import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from support.ui import STATIC, Dashboard, serving
from support.ui_screen import Screen

SIZES = {"desktop": (1280, 800), "phone": (390, 844)}
_CHROMIUM = shutil.which("chromium")
expect.set_options(timeout=20_000)  # ms; a shared machine renders late, and what is right ends the wait


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, headless; as root it needs its sandbox off."""
    if _CHROMIUM is None:
        pytest.skip("no chromium on this machine")
    if not (STATIC / "index.html").is_file():
        pytest.skip("the dashboard is not built: make ui")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=_CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield browser
        browser.close()


@pytest.fixture
def cloud() -> Iterator[Dashboard]:
    """The canned cloud on a free port."""
    with serving() as server:
        yield server


@pytest.fixture(params=SIZES)
def screen(request: pytest.FixtureRequest, browser: Browser, cloud: Dashboard) -> Iterator[Screen]:
    """A screen at desktop and at phone size."""
    width, height = SIZES[request.param]
    with browser.new_context(viewport={"width": width, "height": height}, color_scheme="dark") as context:
        yield Screen(context, cloud)


@pytest.fixture
def desktop(browser: Browser, cloud: Dashboard) -> Iterator[Screen]:
    """A screen where size does not matter."""
    with browser.new_context(viewport={"width": 1280, "height": 800}, color_scheme="light") as context:
        yield Screen(context, cloud)
