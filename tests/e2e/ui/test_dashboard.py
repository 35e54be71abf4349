"""Every screen as an operator meets it: right words, right size, stale as stale, nothing on the console."""

import re

import pytest
from playwright.sync_api import Locator, Page, expect

from support import ui_scene as scene
from support.ui import TOKEN
from support.ui_screen import Screen

pytestmark = pytest.mark.slow

SCREENS = {
    "/": [
        "Alpha",
        "173 kW",
        "44/48",
        "SHA-256",
        "6.94 PH/s",
        "21.8 J/TH",
        "Scrypt",
        "16.0 GH/s",
        "203 J/GH",
        "ML active",
        "miner-anomaly v7",
        "Simulated",
        "1 stale, not in the sum",
        "Offline",
        "—/24",
        "was Local auto",
    ],
    "/sites/alpha": [
        "hall-a",
        "hall-b",
        "Cooling proven",
        "1 inhibited",
        "Heat map",
        "meter-a",
        "Safe stop",
        m := scene.ODD,
    ],
    "/sites/bravo": [
        "Tripped",
        "First out:",
        scene.FIRST_OUT,
        "Do now:",
        "minewarden guardian reset --site",
        "Cooling not proven",
    ],
    "/sites/charlie": ["The site is not connected.", "Stale · 2 h 13 min old", "Cooling unknown"],
    f"/sites/alpha/devices/{m}": [
        "84.0 °C",
        "2310 rpm",
        "Above threshold",
        "1.75 ×",
        "Speed of the slowest fan for its duty",
        "rack A, slot 5",
        "Hashrate",
        "Stop miner…",
        "preset 2550",
    ],
    f"/sites/alpha/devices/{scene.STALE}": ["No fresh data from this device.", "Last known values", "Stale"],
    f"/sites/alpha/devices/{scene.SILENT}": ["no data yet", "State unknown"],
    "/sites/alpha/devices/meter-a": ["Power meter", "128 kW", "231.4 V"],
    "/alarms": ["Urgent", "Do:", "Acknowledged by Ada", "3 times", "since"],
    "/log": ["Decision", "Refused", "Trip", "Mode", f"{m}: preset 2550 is applied"],
    "/models": [
        "miner-anomaly v8",
        "rejected",
        "blessed",
        "Gate: 1 of 2 passed",
        "0.948",
        "Baseline",
        "Refused",
        "feature spec miner-v1 is not known here",
        "Train on Alpha",
    ],
    "/nowhere": ["There is no such page"],
}


@pytest.mark.parametrize("path", [path for path in SCREENS if path != "/nowhere"])
def test_a_screen_shows_what_it_must_and_fits(screen: Screen, path: str) -> None:
    page = screen.open(path)
    for words in SCREENS[path]:
        expect(page.get_by_text(words).first).to_be_attached()
    expect(page.get_by_role("status").filter(has_text="Live")).to_be_visible()
    too_wide = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
    assert too_wide <= 0, f"{path} scrolls sideways by {too_wide} px"
    assert not screen.complaints


def test_an_address_that_leads_nowhere_says_so(desktop: Screen) -> None:
    desktop.page.goto(f"{desktop.cloud.url}/#/nowhere")
    expect(desktop.page.get_by_text("There is no such page")).to_be_visible()
    desktop.page.goto(f"{desktop.cloud.url}/#/sites/atlantis")
    expect(desktop.page.get_by_text("There is no site “atlantis”")).to_be_visible()


def test_algorithms_are_never_added_up(desktop: Screen) -> None:
    page = desktop.open("/")
    rows = page.get_by_role("row").filter(has_text="/s")
    assert {row.split("\t")[0] for row in rows.all_inner_texts()} == {"SHA-256", "Scrypt"}


# ---------------------------------------------------------------- heat map


def test_the_heat_map_is_walked_with_the_keyboard(screen: Screen) -> None:
    page = screen.open("/sites/alpha")
    cells = page.locator("table.heat a.cell")
    assert cells.count() == 48
    assert page.locator("table.heat a.cell[tabindex='0']").count() == 2, "one tab stop per zone"
    cells.first.focus()
    for key, expected in (
        ("ArrowRight", "m-02"),
        ("ArrowDown", "m-14"),
        ("End", "m-24"),
        ("Home", "m-13"),
        ("ArrowUp", "m-01"),
    ):
        page.keyboard.press(key)
        label = page.evaluate("document.activeElement.getAttribute('aria-label')")
        assert label.startswith(f"{expected},"), f"{key} led to {label!r}"
        expect(page.locator(".pointed")).to_contain_text(expected)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_contain_text("m-01")


def test_cells_say_their_state_in_words_and_pattern(desktop: Screen) -> None:
    page = desktop.open("/sites/alpha")

    def cell(device: str) -> Locator:
        return page.locator(f"table.heat a.cell[aria-label^='{device},']")

    for device, look, words in (
        (scene.ODD, "odd", "anomaly above threshold"),
        (scene.INHIBITED, "inhibited", "inhibited: settling after a preset change"),
        (scene.FAILED, "failed", "Failure"),
        (scene.STOPPED, "stopped", "Stopped"),
        (scene.STARTING, "settling", "Starting"),
        (scene.STALE, "hatched", "stale, 6 min"),
        (scene.SILENT, "hatched", "no data yet"),
    ):
        classes = cell(device).get_attribute("class") or ""
        label = cell(device).get_attribute("aria-label") or ""
        assert look in classes.split(), f"{device} looks {classes}"
        assert words in label, f"{device} is called {label!r}"
    assert cell(scene.STALE).inner_text().strip() == "?", "a stale number is not shown as the present"


def test_the_fill_is_chosen_and_stands_in_the_address(desktop: Screen) -> None:
    page = desktop.open("/sites/alpha")
    page.get_by_label("Fill").select_option("anomaly")
    expect(page).to_have_url(re.compile("fill=anomaly"))
    assert page.locator(f"a.cell[aria-label^='{scene.ODD},']").inner_text().startswith("1.8")
    page.reload()
    expect(page.get_by_label("Fill")).to_have_value("anomaly")


# ---------------------------------------------------------------- live


def test_what_arrives_live_is_shown_at_once(desktop: Screen) -> None:
    page = desktop.open("/sites/alpha")
    miner = scene.miner("alpha", 0, desktop.cloud.clock.utc_ms())
    miner["latest"]["chip_temp_max_c_max"] = 88.0
    desktop.cloud.push("devices", {"site": "alpha", "items": [miner]})
    expect(page.locator("a.cell[aria-label^='m-01,']")).to_contain_text("88")
    desktop.cloud.push("weather", {"unknown": "to this build"})
    alarm = scene.alarms(desktop.cloud.clock.utc_ms())[0] | {
        "id": "new",
        "site": "alpha",
        "title": "Water on the floor",
    }
    desktop.cloud.push("alarm", alarm)
    expect(page.get_by_text("Water on the floor")).to_be_visible()
    expect(page.locator(".pill")).to_contain_text("5")
    assert not desktop.complaints


def test_a_lost_cloud_is_said_and_found_again(desktop: Screen) -> None:
    page = desktop.open("/")
    indicator = page.locator(".live")
    desktop.cloud.cut()
    expect(indicator).to_contain_text("Reconnecting · no data for")
    expect(page.get_by_text("173 kW")).to_be_visible()
    desktop.cloud.restore()
    expect(indicator).to_contain_text("Live", timeout=20_000)


def test_data_grows_stale_while_nothing_comes(desktop: Screen) -> None:
    desktop.page.clock.install()
    page = desktop.open("/")
    tile = page.locator("article").filter(has_text="Alpha")
    expect(tile.get_by_text("Stale")).to_have_count(0)
    page.clock.fast_forward((scene.STALE_S + 5) * 1000)
    expect(tile.get_by_text("Stale ·")).to_be_visible()
    expect(tile.get_by_text("Nothing below is from now")).to_be_visible()


def test_a_cloud_that_was_never_reached_shows_no_fleet(desktop: Screen) -> None:
    desktop.cloud.cut()
    desktop.page.goto(desktop.cloud.url)
    expect(desktop.page.get_by_text("The cloud cannot be reached.")).to_be_visible(timeout=15_000)
    assert desktop.page.locator("article").count() == 0


def test_an_empty_fleet_and_a_failing_list_are_told_apart(desktop: Screen) -> None:
    desktop.cloud.sites = lambda _now: []
    desktop.page.goto(desktop.cloud.url)
    expect(desktop.page.get_by_text("No site has reported yet")).to_be_visible()
    desktop.cloud.failing.add("/models")
    desktop.page.goto(f"{desktop.cloud.url}/#/models")
    expect(desktop.page.get_by_role("alert")).to_contain_text("The database cannot be reached now")
    desktop.cloud.failing.clear()
    desktop.page.get_by_role("button", name="Try again").click()
    expect(desktop.page.get_by_role("heading", name="miner-anomaly v8", exact=True)).to_be_visible()


# ---------------------------------------------------------------- writes


def _authorise(page: Page, token: str = TOKEN) -> None:
    dialog = page.get_by_role("dialog")
    dialog.get_by_label("Your name").fill("Ada")
    dialog.get_by_label("Write token").fill(token)


def test_a_safe_stop_takes_two_steps_and_a_token(screen: Screen) -> None:
    page = screen.open("/sites/alpha")
    page.get_by_role("button", name="Safe stop…").click()
    dialog = page.get_by_role("dialog", name="Safe stop of Alpha?")
    expect(dialog).to_contain_text("stays stopped")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    assert not screen.cloud.posts, "cancelled is not sent"

    page.get_by_role("button", name="Safe stop…").click()
    _authorise(page, "a-wrong-token")
    page.get_by_role("button", name="Stop mining now").click()
    expect(page.get_by_role("alert")).to_contain_text("A bearer token is needed")
    _authorise(page)
    page.get_by_role("button", name="Stop mining now").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text("safe stop of the site")).to_be_visible()
    order = {"order": "safe-stop", "zone": None}
    assert screen.cloud.posts == [
        ("/commands", {"site": "alpha", "order": order, "actor": "Ada", "expires_s": 30})
    ]


def test_a_miner_is_stopped_and_set_by_order(desktop: Screen) -> None:
    page = desktop.open(f"/sites/alpha/devices/{scene.ODD}")
    page.get_by_role("button", name="Stop miner…").click()
    _authorise(page)
    page.get_by_role("button", name="Ask the site first").click()
    dialog = page.get_by_role("dialog")
    expect(dialog).to_contain_text("Nothing has been done yet")
    expect(dialog).to_contain_text("saves 3.40 kW")
    assert [path for path, _ in desktop.cloud.posts] == ["/commands/plans"], "looked at is not sent"
    page.get_by_role("button", name="Stop this miner").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text(f"{scene.ODD}: stop")).to_be_visible()
    page.get_by_role("combobox", name="Preset").fill("2300")
    page.get_by_role("button", name="Set…").click()
    assert page.get_by_role("dialog").get_by_label("Write token").count() == 0, (
        "the token is asked once per session"
    )
    page.get_by_role("button", name="Ask the site first").click()
    page.get_by_role("button", name="Set preset").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text(f"{scene.ODD}: preset 2300")).to_be_visible()
    confirmed = [post for path, post in desktop.cloud.posts if path.endswith("/confirm")]
    assert confirmed == [{"actor": "Ada", "expires_s": 30, "blind": False}] * 2
    actions = [post["order"]["actions"][0] for path, post in desktop.cloud.posts if path.endswith("/plans")]
    assert actions == [
        {"do": "stop", "device": scene.ODD},
        {"do": "set-preset", "device": scene.ODD, "preset": "2300"},
    ]
    done = desktop.cloud.commands[0] | {
        "state": "done",
        "outcome": "applied",
        "history": [{"state": "done", "at_ms": 1, "detail": ""}],
    }
    desktop.cloud.push("command", done)
    expect(page.get_by_text("done: applied")).to_have_count(2)


def test_a_plan_that_the_site_does_not_answer_says_so(screen: Screen) -> None:
    screen.cloud.silent = True
    page = screen.open(f"/sites/alpha/devices/{scene.ODD}")
    page.get_by_role("button", name="Stop miner…").click()
    _authorise(page)
    page.get_by_role("button", name="Ask the site first").click()
    expect(page.get_by_role("dialog")).to_contain_text("Nobody says what this would do")
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert [path for path, _ in screen.cloud.posts] == ["/commands/plans"], "cancelled is not sent"
    page.get_by_role("button", name="Stop miner…").click()
    page.get_by_role("button", name="Ask the site first").click()
    page.get_by_role("button", name="Stop this miner without knowing").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.get_by_text(f"{scene.ODD}: stop")).to_be_visible()
    assert screen.cloud.posts[-1][1]["blind"] is True, "the caller states it"


def test_an_alarm_is_acknowledged(screen: Screen) -> None:
    page = screen.open("/alarms")
    page.get_by_role("button", name="Acknowledge…").first.click()
    _authorise(page)
    page.get_by_label("Note").fill("on my way")
    page.get_by_role("dialog").get_by_role("button", name="Acknowledge").click()
    expect(page.get_by_text("Acknowledged by Ada")).to_have_count(2)
    assert screen.cloud.posts == [("/alarms/alarm-1/acknowledge", {"by": "Ada", "note": "on my way"})]


def test_training_and_roll_out_are_asked_for(desktop: Screen) -> None:
    page = desktop.open("/models")
    page.get_by_role("button", name="Train on Alpha…").click()
    _authorise(page)
    page.get_by_role("button", name="Start training").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.get_by_role("group", name="Roll out at Bravo").get_by_role("button", name="Shadow…").click()
    page.get_by_role("dialog").get_by_role("button", name="Shadow").click()
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert desktop.cloud.posts == [
        ("/training", {"site": "alpha", "algorithms": None}),
        (
            "/rollouts",
            {"site": "bravo", "name": "miner-anomaly", "version": 7, "stage": "shadow", "actor": "Ada"},
        ),
    ]


# ---------------------------------------------------------------- log


def test_a_decision_tells_why(desktop: Screen) -> None:
    page = desktop.open("/log?kind=action")
    expect(page.locator("li.event")).to_have_count(1)
    page.get_by_text("Why: proposal, verdict, writes, read-back").click()
    parts = page.locator(".evidence h4").all_inner_texts()
    assert parts == ["Proposal", "Verdict", "Writes", "Read-back"]
    for words in (
        "score 1.93 over 1.10 for 5 cycles",
        "miner-anomaly v7",
        "preset 2300",
        "preset 2550",
        "3068",
    ):
        expect(page.locator("details")).to_contain_text(words)


def test_what_is_being_typed_outlives_news(desktop: Screen) -> None:
    """New events render the screen anew while somebody still types a device's name."""
    page = desktop.open("/log")
    device = page.get_by_label("Device")
    device.press_sequentially("m-1")
    miner = scene.miner("alpha", 0, desktop.cloud.clock.utc_ms()) | {"id": "new-miner"}
    desktop.cloud.push("devices", {"site": "alpha", "items": [miner]})
    expect(page.locator("#devices option[value='new-miner']")).to_have_count(1)
    device.press_sequentially("2")
    expect(device).to_have_value("m-12")
    device.press("Enter")
    expect(page).to_have_url(re.compile("device=m-12"))
    expect(page.locator("li.event")).to_have_count(1)


def test_log_filters_stand_in_the_address(desktop: Screen) -> None:
    page = desktop.open("/log")
    page.get_by_label("Kind").select_option("refused")
    expect(page.locator("li.event")).to_have_count(1)
    page.get_by_label("Kind").select_option("")
    page.get_by_label("Device").fill("m-12")
    page.get_by_label("Device").press("Enter")
    page.get_by_label("Site").focus()
    expect(page).to_have_url(re.compile("device=m-12"))
    expect(page.locator("li.event")).to_have_count(1)
