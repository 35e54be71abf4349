"""Letting gateways in and cutting them off, and how complete a site's data is, in a real browser."""

from typing import Any

import pytest
from playwright.sync_api import expect

from support import ui_access
from support.ui import TOKEN
from support.ui_screen import Screen

pytestmark = pytest.mark.slow


def credentials(screen: Screen, name: str) -> None:
    dialog = screen.page.get_by_role("dialog")
    dialog.get_by_label("Your name").fill(name)
    dialog.get_by_label("Write token").fill(TOKEN)


def test_who_waits_and_who_may_connect_stands_there(screen: Screen) -> None:
    page = screen.open("/access")
    delta = page.get_by_role("group", name="Enrolment of delta")
    expect(delta).to_contain_text("A gateway asks to be delta, 2 min ago. It gives up in")
    bravo = page.get_by_role("group", name="Enrolment of bravo")
    expect(bravo).to_contain_text("1 more asks to be the same site.")
    expect(bravo).to_contain_text("This site has a live certificate.")
    lines = page.get_by_role("listitem")
    expect(lines.filter(has_text="bravo").first).to_contain_text("12 days left · renewal is due")
    expect(lines.filter(has_text="charlie").first).to_contain_text("The broker has not cut it off yet.")
    expect(lines.filter(has_text="grid-desk").first).to_contain_text("third party, all sites")
    expect(lines.filter(has_text="echo")).to_be_hidden()
    page.get_by_text("Expired, replaced and taken back (1)").click()
    expect(lines.filter(has_text="echo")).to_contain_text("The broker cut it off after 4 s.")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    assert not screen.complaints


def test_a_fingerprint_is_typed_as_it_was_heard_and_never_shown(desktop: Screen) -> None:
    page = desktop.open("/access")
    page.get_by_role("group", name="Enrolment of delta").get_by_role("button", name="Confirm").click()
    dialog = page.get_by_role("dialog")
    field = dialog.get_by_label("Fingerprint, as it was read out")
    expect(field).to_have_value("")
    credentials(desktop, "Ada")
    field.fill("K7QM-2XF9")
    dialog.get_by_role("button", name="Issue the certificate").click()
    expect(dialog).to_contain_text("A fingerprint has 16 letters and digits; this has 8.")
    assert desktop.cloud.posts == []
    field.fill("k7qm 2xf9 ab3d w8ht")
    dialog.get_by_role("button", name="Issue the certificate").click()
    expect(dialog).to_have_count(0)
    body = {"fingerprint": "k7qm 2xf9 ab3d w8ht", "actor": "Ada", "replace": False}
    assert desktop.cloud.posts == [("/enrolments/enrolment-1/confirm", body)]


def test_taking_a_live_site_s_place_needs_a_word_of_its_own(desktop: Screen) -> None:
    page = desktop.open("/access")
    page.get_by_role("group", name="Enrolment of bravo").get_by_role("button", name="Confirm").click()
    dialog = page.get_by_role("dialog")
    credentials(desktop, "Ada")
    dialog.get_by_label("Fingerprint, as it was read out").fill(ui_access.FINGERPRINT)
    dialog.get_by_role("button", name="Issue the certificate").click()
    assert desktop.cloud.posts == [], "the box was not ticked"
    dialog.get_by_label("Take back the certificate that bravo has now").check()
    dialog.get_by_role("button", name="Issue the certificate").click()
    expect(dialog).to_have_count(0)
    assert desktop.cloud.posts[0][1]["replace"] is True


def test_taking_a_certificate_back_says_what_it_does_and_needs_a_reason(desktop: Screen) -> None:
    page = desktop.open("/access")
    line = page.get_by_role("listitem").filter(has_text="alpha").first
    line.get_by_role("button", name="Take back").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("The gateway is cut off within a minute")
    credentials(desktop, "Bo")
    dialog.get_by_role("button", name="Take it back").click()
    assert desktop.cloud.posts == []
    dialog.get_by_label("Why, for the record").fill("sold")
    dialog.get_by_role("button", name="Take it back").click()
    expect(dialog).to_have_count(0)
    assert desktop.cloud.posts == [("/certificates/01/revoke", {"actor": "Bo", "reason": "sold"})]


def test_a_cloud_without_an_authority_and_a_broker_in_trouble_say_so(desktop: Screen) -> None:
    def changed(**changes: Any) -> None:
        desktop.cloud.identity = lambda now_ms: ui_access.identity(now_ms) | changes

    changed(enabled=False)
    page = desktop.open("/access")
    expect(page.get_by_text("This cloud issues no certificates")).to_be_visible()
    expect(page.get_by_role("button", name="Confirm")).to_have_count(0)
    changed(broker={"applied_ms": None, "trouble": "the folder of rules cannot be written"})
    page.reload()
    expect(page.get_by_text("the folder of rules cannot be written")).to_be_visible()


def test_what_has_arrived_of_a_site_and_what_was_given_up(screen: Screen) -> None:
    page = screen.open("/sites/alpha")
    panel = page.locator("section").filter(has_text="What has arrived")
    expect(panel).to_contain_text("Catching up 42 batches that the site numbered are not here yet")
    rows = panel.get_by_role("row")
    expect(rows.filter(has_text="Roll-up rows")).to_contain_text("42 batches")
    expect(rows.filter(has_text="Scores")).to_contain_text("200 rows")
    expect(panel).to_contain_text("Given up: the site's store was full or damaged")
    expect(panel).to_contain_text("2,880 samples of 48 miners")
    assert page.evaluate("document.documentElement.scrollWidth - window.innerWidth") <= 0
    table = panel.get_by_role("region", name="What has arrived, by stream")
    assert table.evaluate("it => it.scrollWidth - it.clientWidth") <= 0, "what was given up stands there too"
    assert not screen.complaints


def test_rows_of_a_time_that_a_site_recorded_twice_are_explained(screen: Screen) -> None:
    page = screen.open("/sites/alpha")
    panel = page.locator("section").filter(has_text="What has arrived")
    expect(panel).to_contain_text(
        "Clock set back: the site recorded some times twice. 12 rows that differ from those that came first "
        "are kept beside them; the charts show what came first. None of these is lost. If the number "
        "grows, check the gateway's clock."
    )
    page = screen.open("/sites/bravo")
    expect(panel).to_contain_text("a batch that came twice was stored once")
    expect(panel).not_to_contain_text("Clock set back")
    assert not screen.complaints


def test_raw_samples_are_asked_for(desktop: Screen) -> None:
    page = desktop.open("/sites/alpha")
    page.get_by_role("button", name="Ask for raw samples").click()
    credentials(desktop, "Ada")
    page.get_by_role("dialog").get_by_role("button", name="Ask for the last 10 minutes").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    ((path, body),) = desktop.cloud.posts
    assert (path, body["actor"], body["to_ms"] - body["from_ms"]) == (
        "/sites/alpha/raw-requests",
        "Ada",
        600_000,
    )


def test_a_machine_s_own_record_is_a_line_of_its_own(screen: Screen) -> None:
    page = screen.open("/sites/alpha/devices/m-01")
    power = page.locator("figure").filter(has_text="Power")
    expect(power).to_contain_text("machine's own record: 3040 W last")
    expect(page.locator("figure").filter(has_text="Fan speed")).not_to_contain_text("own record")
    assert not screen.complaints
