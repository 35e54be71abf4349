"""Roll-outs as an operator meets them at night: what is wrong, what to do, and who must agree."""

import pytest
from playwright.sync_api import expect

from support import ui_campaigns
from support.ui import TOKEN
from support.ui_screen import Screen

pytestmark = pytest.mark.slow


def credentials(screen: Screen, name: str) -> None:
    dialog = screen.page.get_by_role("dialog")
    dialog.get_by_label("Your name").fill(name)
    dialog.get_by_label("Write token").fill(TOKEN)


def test_what_is_held_says_why_and_what_to_do(screen: Screen) -> None:
    page = screen.open("/models")
    held = page.locator("section").filter(has_text="Roll-out of miner-anomaly v9")
    for words in (
        "Held: needs a look",
        "Ring 2 of 4, shadow",
        "charlie is offline: nothing was heard of it for more than 30 min",
        "Look whether charlie has power and network",
        "(not counted): kilo",
        "0 good, 2 needed",
        "soaks for 1 h",
    ):
        expect(held.get_by_text(words).first).to_be_visible()
    checks = held.get_by_label("Criteria at bravo")
    expect(checks).to_contain_text("Alarm rate 1.2 % ≤ 5 %")
    expect(checks).to_contain_text("Latency p99 14 ms ≤ 500 ms")
    halted = page.locator("section").filter(has_text="Roll-out of miner-anomaly v8")
    expect(halted.get_by_text("Halted in ring 1 of 2")).to_be_visible()
    expect(halted.get_by_text("Not confirmed yet: bravo")).to_be_visible()
    expect(
        halted.get_by_role("listitem").filter(has_text="Alarm rate").get_by_text("broken:")
    ).to_be_attached()
    expect(halted.get_by_role("button", name="Promote")).to_have_count(0)
    expect(page.get_by_text("Roll-out of miner-anomaly v7")).to_be_hidden()
    page.get_by_text("Earlier roll-outs (1)").click()
    expect(page.get_by_text("On its one site")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert not screen.complaints


def test_another_person_agrees(desktop: Screen) -> None:
    page = desktop.open("/models")
    waiting = page.get_by_role("group", name="A second person is needed").first
    expect(waiting).to_contain_text("Bo asks to promote it by one step without waiting, 4 min ago")
    expect(waiting).to_contain_text("Another person must agree within")
    waiting.get_by_role("button", name="Agree").click()
    credentials(desktop, "Ada")
    page.get_by_role("dialog").get_by_role("button", name="Agree").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert desktop.cloud.posts == [("/approvals/approval-1/approve", {"actor": "Ada"})]


def test_an_emergency_needs_its_reason(desktop: Screen) -> None:
    page = desktop.open("/models")
    page.get_by_role("button", name="Roll back").first.click()
    dialog = page.get_by_role("dialog")
    expect(dialog.get_by_text("Another person must agree first.")).to_be_visible()
    dialog.get_by_label("Emergency: do it now, alone.").check()
    credentials(desktop, "Ada")
    dialog.get_by_role("button", name="Roll back").click()
    expect(dialog).to_be_visible()
    assert desktop.cloud.posts == [], "without a reason nothing goes out"
    dialog.get_by_label("Why, for the record").fill("miners stop")
    dialog.get_by_role("button", name="Roll back").click()
    expect(dialog).to_have_count(0)
    body = {"actor": "Ada", "reason": "miners stop", "emergency": True}
    assert desktop.cloud.posts == [("/campaigns/campaign-9/rollback", body)]


def test_a_roll_out_is_begun_from_a_blessed_version_only(desktop: Screen) -> None:
    desktop.cloud.campaigns = lambda now_ms: ui_campaigns.campaigns(now_ms)[2:]
    page = desktop.open("/models")
    rejected = page.locator("section").filter(has_text="miner-anomaly v8").filter(has_text="rejected")
    expect(rejected.get_by_role("button", name="Roll out ring by ring")).to_have_count(0)
    page.get_by_role("button", name="Roll out ring by ring").first.click()
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Time on each stage").select_option("6 hours")
    dialog.get_by_label("Take two persons").check()
    credentials(desktop, "Ada")
    dialog.get_by_role("button", name="Begin").click()
    expect(dialog).to_have_count(0)
    ((path, body),) = desktop.cloud.posts
    assert path == "/campaigns"
    assert (body["actor"], body["soak_s"], body["second_approver"]) == ("Ada", 21600, True)
