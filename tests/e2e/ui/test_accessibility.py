"""axe-core (WCAG 2.2 A and AA, contrast included) over every screen, in light and dark."""

from pathlib import Path
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, expect

from support import ui_scene as scene
from support.ui import Dashboard

pytestmark = pytest.mark.slow

AXE = Path(__file__).resolve().parents[3] / "cloud" / "ui" / "node_modules" / "axe-core" / "axe.min.js"
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
PATHS = [
    "/",
    "/sites/alpha",
    "/sites/bravo",
    "/sites/charlie",
    f"/sites/alpha/devices/{scene.ODD}",
    f"/sites/alpha/devices/{scene.STALE}",
    "/alarms?state=all",
    "/log",
    "/models",
    "/access",
]


def _violations(page: Page) -> list[str]:
    """Rule, help and the places, for each broken rule. Evaluated by the debugger, so the CSP stays strict."""
    page.evaluate(AXE.read_text())
    found = page.evaluate("tags => axe.run(document, {runOnly: {type: 'tag', values: tags}})", TAGS)
    return [
        f"{rule['id']}: {rule['help']}\n    "
        + "\n    ".join(f"{n['target']} {n['failureSummary']}" for n in rule["nodes"][:4])
        for rule in found["violations"]
    ]


@pytest.mark.parametrize(("scheme", "width"), [("light", 1280), ("dark", 390)])
def test_no_screen_breaks_a_rule(
    browser: Browser, cloud: Dashboard, scheme: Literal["light", "dark"], width: int
) -> None:
    if not AXE.is_file():
        pytest.skip("axe-core is not installed: make ui")
    broken: dict[str, list[str]] = {}
    with browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme) as context:
        for path in PATHS:
            page = context.new_page()
            page.goto(f"{cloud.url}/#{path}")
            page.locator("main h1").first.wait_for(state="attached")
            expect(page.locator("main .loading")).to_have_count(0)
            if found := _violations(page):
                broken[path] = found
            page.close()
        page = context.new_page()
        page.goto(f"{cloud.url}/#/sites/alpha")
        page.get_by_role("button", name="Safe stop…").click()
        expect(page.get_by_role("dialog")).to_be_visible()
        if found := _violations(page):
            broken["safe-stop dialog"] = found
    assert not broken, "\n".join(f"{path}\n  " + "\n  ".join(found) for path, found in broken.items())
