"""The emulator against the vendor's documents: logins, conflicts, settings, the switcher, versions."""

import json
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

from firmware_adapters.miners.emulated import PastView, PoolView
from firmware_adapters.miners.vnish.emulator import _CLOSED, _OPEN, Switcher, VnishEmulator
from firmware_adapters.miners.vnish.emulator_traps import Traps
from firmware_adapters.miners.vnish.settings import cooling_post, power_limit_post, preset_post
from shared.clock import ManualClock
from shared.telemetry import MinerState
from support.miners import Machine, board, s21_pro
from support.vnish import emulator_of

DOCS = Path(__file__).parents[6] / "shared" / "reference" / "vnish"
SPARE = PoolView(url="stratum+tcp://spare.invalid:3333")


class Client:
    """Speaks to an emulator without a socket, logged in unless told otherwise."""

    def __init__(self, emulator: VnishEmulator, *, login: bool = True) -> None:
        self.emulator = emulator
        self.headers: dict[str, str] = {}
        if login:
            self.headers["Authorization"] = "Bearer " + self("POST", "/unlock", {"pw": "admin"})[1]["token"]

    def __call__(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        raw = b"" if body is None else json.dumps(body).encode()
        said = self.emulator.answer(method, "/api/v1" + path, self.headers, raw)
        return said.status, json.loads(said.body) if said.body else None


def bench(version: str = "1.2.7", **options: object) -> tuple[Machine, ManualClock, Client]:
    machine, clock = Machine(), ManualClock()
    return machine, clock, Client(emulator_of(machine, clock, version=version, **options))


# ---------------------------------------------------------------- shapes


def _check(schema: dict[str, Any], value: object, schemas: dict[str, Any], at: str) -> list[str]:
    """A little of JSON Schema: references, allOf, oneOf, types, required, properties, enum, items."""
    if value is None and schema.get("nullable"):
        return []
    if "$ref" in schema:
        return _check(schemas[schema["$ref"].rsplit("/", 1)[1]], value, schemas, at)
    if "oneOf" in schema:
        tried = [_check(option, value, schemas, at) for option in schema["oneOf"]]
        return [] if [] in tried else tried[-1]
    wrong = [line for part in schema.get("allOf", []) for line in _check(part, value, schemas, at)]
    types = schema.get("type")
    if types is not None and not any(
        _is(value, name) for name in ([types] if isinstance(types, str) else types)
    ):
        return [*wrong, f"{at}: {value!r} is not {types}"]
    if "enum" in schema and value not in schema["enum"]:
        wrong.append(f"{at}: {value!r} not in {schema['enum']}")
    if isinstance(value, dict):
        wrong += [f"{at}: {name} is missing" for name in schema.get("required", []) if name not in value]
        for name, inner in schema.get("properties", {}).items():
            if name in value and inner is not True:
                wrong += _check(inner, value[name], schemas, f"{at}.{name}")
    if isinstance(value, list) and isinstance(schema.get("items"), dict):
        for index, item in enumerate(value):
            wrong += _check(schema["items"], item, schemas, f"{at}[{index}]")
    return wrong


def _is(value: object, name: str) -> bool:
    kinds = {"object": dict, "array": list, "string": str, "boolean": bool, "null": type(None)}
    if name in kinds:
        return isinstance(value, kinds[name])
    if isinstance(value, bool):
        return False
    return isinstance(value, int) if name == "integer" else isinstance(value, int | float)


PAGES = {
    "1.2.0-rc5": ["/chips", "/metrics?time_slice=86400&step=900&until=1780000000"],
    "1.2.6": [
        "/perf-summary",
        "/model",
        "/chains",
        "/chips",
        "/chains/factory-info",
        "/apikeys",
        "/auth-check",
        "/metrics",
    ],
    "1.3.4": [
        "/perf-summary",
        "/model",
        "/boards",
        "/chains/factory-info",
        "/apikeys",
        "/auth-check",
        "/metrics?time_slice=259200&step=900",
    ],
}
COMMON = ["/info", "/status", "/summary", "/settings", "/autotune/presets"]


def document(version: str) -> dict[str, Any]:
    """The vendor's own document of a version; the test is skipped where it is missing."""
    file = DOCS / f"api-doc-{version}.json"
    if not file.is_file():
        pytest.skip(f"no vendor document at {file}")
    found: dict[str, Any] = json.loads(file.read_text())
    return found


def _json_schema(operation: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = (
        operation.get("content", {}).get("application/json", {}).get("schema", {"properties": {}})
    )
    return schema


@pytest.mark.parametrize(
    "state", [MinerState.MINING, MinerState.STARTING, MinerState.FAILURE, MinerState.STOPPED]
)
@pytest.mark.parametrize(
    ("version", "of"), [("1.2.0-rc5", "1.2.0-rc5"), ("1.2.7", "1.2.6"), ("1.3.4", "1.3.4")]
)
def test_every_page_has_the_documented_shape(version: str, of: str, state: MinerState) -> None:
    vendor = document(of)
    machine, clock, ask = bench(version)
    ask("GET", "/status")
    clock.advance(3600)
    machine.set(state=state, pool=1, other_pools=(SPARE,), last_share_age_s=5.0)
    for path in [*COMMON, *PAGES[of]]:
        documented = vendor["paths"][path.partition("?")[0]]["get"]["responses"]["200"]
        status, page = ask("GET", path)
        assert status == 200, path
        wrong = _check(_json_schema(documented), page, vendor["components"]["schemas"], path)
        assert wrong == []


def test_the_check_of_shapes_finds_what_does_not_fit() -> None:
    vendor = document("1.3.4")
    _, _, ask = bench("1.3.4")
    schema = _json_schema(vendor["paths"]["/status"]["get"]["responses"]["200"])
    page = ask("GET", "/status")[1]
    for wrong in ({"miner_state": "paused"}, {"find_miner": 1}, {"throttled": "x"}):
        assert _check(schema, {**page, **wrong}, vendor["components"]["schemas"], "")
    del page["restart_required"]
    assert _check(schema, page, vendor["components"]["schemas"], "")


@pytest.mark.parametrize("of", ["1.2.0-rc5", "1.2.6", "1.3.4"])
def test_whatever_the_emulator_serves_is_documented_or_known_to_be_older(of: str) -> None:
    """A page that no document has would let an adapter pass that fails on every real machine."""
    vendor = document(of)
    documented = {(verb.upper(), path) for path, verbs in vendor["paths"].items() for verb in verbs}
    if of == "1.2.0-rc5":
        documented |= {("GET", "/auth-check")}  # POST there
    for method, path in {*_OPEN, *_CLOSED}:
        general = re.sub("^/logs/[a-z]+", "/logs/{log_type}", path)
        status, _ = bench(of)[2](method, path, {"pw": "admin"} if path == "/unlock" else {})
        assert (status != 404) <= ((method, general) in documented), f"{method} {path}: {status}"


POSTED: list[tuple[str, dict[str, object]]] = [
    ("/settings", cooling_post("auto", 60)),
    ("/settings", cooling_post("manual", 80)),
    ("/settings", power_limit_post(2700)),
    ("/settings", preset_post("2550", {"enabled": True, "top_preset": "2550"})),
    ("/mining/throttle", {"percent": 60}),
    ("/mining/switch-pool", {"pool_id": 0}),
    ("/unlock", {"pw": "admin"}),
]


@pytest.mark.parametrize(("path", "body"), POSTED)
def test_what_the_adapter_posts_and_what_comes_back_is_documented(path: str, body: dict[str, object]) -> None:
    vendor = document("1.3.4")
    operation = vendor["paths"][path]["post"]
    schemas = vendor["components"]["schemas"]
    assert _check(_json_schema(operation["requestBody"]), body, schemas, path) == []
    _, _, ask = bench("1.3.4")
    status, page = ask("POST", path, body)
    assert status == 200
    if page is not None:
        assert _check(_json_schema(operation["responses"]["200"]), page, schemas, path) == []


def test_what_the_betas_lack_is_404() -> None:
    _, _, ask = bench("1.2.0-rc5")
    for path in ("/perf-summary", "/model", "/chains", "/boards", "/chains/factory-info"):
        assert ask("GET", path)[0] == 404, path
    for path in ("/find-miner", "/locate-miner", "/mining/throttle"):
        assert ask("POST", path, {"percent": 50})[0] == 404, path
    info = ask("GET", "/info")[1]
    assert "algorithm" not in info
    miner = ask("GET", "/summary")[1]["miner"]
    assert not {"hr_stock", "hr_nominal", "psu"} & set(miner)
    assert {sensor["status"] for sensor in miner["chains"][0]["pcb_temp_sens"]} == {"measure"}
    assert ask("GET", "/settings")[1]["miner"]["overclock"]["preset_switcher"] == {
        "enabled": False,
        "top_preset": None,
    }
    assert ask("GET", "/metrics")[0] == 400, "until is required there"


def test_the_beta_tells_watts_by_another_name_and_the_system_beside_the_miner() -> None:
    _, _, ask = bench("1.2.0-beta10")
    page = ask("GET", "/summary")[1]
    assert (page["miner"]["power_usage"], page["system"]["uptime"]) == (2790.4, "0:06")
    assert "power_consumption" not in page["miner"]
    assert set(page["miner"]["cooling"]["fans"][0]) == {"id", "rpm"}
    assert page["miner"]["chains"][0]["power_usage"] == 900


def test_what_1_3_changed() -> None:
    _, _, old = bench("1.2.7")
    _, _, new = bench("1.3.4")
    assert (old("GET", "/chains")[0], old("GET", "/boards")[0]) == (200, 404)
    assert (new("GET", "/chains")[0], new("GET", "/boards")[0]) == (404, 200)
    assert old("POST", "/mining/throttle", {"percent": 50})[0] == 404
    assert new("POST", "/mining/throttle", {"percent": 50})[0] == 200
    assert "throttled" not in old("GET", "/status")[1]
    assert new("GET", "/status")[1]["throttled"] == 50
    assert "restart_count" in new("GET", "/summary")[1]["miner"]


def test_the_front_page_tells_a_scanner_what_it_is() -> None:
    said = emulator_of(Machine(), ManualClock()).answer("GET", "/", {}, b"")
    assert b'content="AnthillOS"' in said.body
    assert emulator_of(Machine(), ManualClock()).answer("GET", "/nothing", {}, b"").status == 404


# ---------------------------------------------------------------- login


CLOSED = [
    ("GET", "/settings"),
    ("POST", "/settings"),
    ("GET", "/autotune/presets"),
    ("GET", "/auth-check"),
    ("POST", "/mining/stop"),
    ("POST", "/mining/restart"),
    ("POST", "/system/reboot"),
    ("GET", "/apikeys"),
]


@pytest.mark.parametrize(("method", "path"), CLOSED)
def test_what_needs_a_login_is_401_with_an_empty_body_without_one(method: str, path: str) -> None:
    machine = Machine()
    emulator = emulator_of(machine, ManualClock())
    for headers in ({}, {"Authorization": "Bearer wrong"}, {"x-api-key": ""}):
        said = emulator.answer(method, "/api/v1" + path, headers, b"")
        assert (said.status, said.body) == (401, b"")
    assert machine.commands == []


def test_the_host_name_shows_only_after_a_login() -> None:
    emulator = emulator_of(Machine(), ManualClock())
    seen = [Client(emulator, login=login)("GET", "/info")[1] for login in (False, True)]
    names = [page["system"]["network_status"]["hostname"] for page in seen]
    assert names == ["", "rack1-slot1"]


def test_five_wrong_passwords_lock_for_a_minute() -> None:
    _, clock, ask = bench()
    for _ in range(5):
        assert ask("POST", "/unlock", {"pw": "nope"}) == (403, {"unlock_timeout": None})
    assert ask("POST", "/unlock", {"pw": "admin"}) == (429, {"unlock_timeout": 61})
    clock.advance(61)
    assert ask("POST", "/unlock", {"pw": "admin"})[0] == 200


def test_api_keys_come_and_go() -> None:
    _, _, ask = bench()
    key = "x" * 32
    assert ask("POST", "/apikeys", {"key": "short", "description": ""})[0] == 500
    assert ask("POST", "/apikeys", {"key": key, "description": ""})[1] == {"status": "inserted"}
    assert ask("POST", "/apikeys", {"key": key, "description": ""})[1] == {"status": "nochanges"}
    assert ask("GET", "/apikeys")[1] == [{"key": key, "description": ""}]
    bare = Client(ask.emulator, login=False)
    bare.headers["x-api-key"] = key
    assert bare("GET", "/auth-check")[0] == 200
    ask("POST", "/apikeys/delete", {"key": key})
    assert bare("GET", "/auth-check")[0] == 401


def test_logging_out_and_rebooting_end_sessions() -> None:
    machine, _, ask = bench()
    ask("POST", "/lock")
    assert ask("GET", "/auth-check")[0] == 401
    again = Client(ask.emulator)
    assert again("POST", "/system/reboot", {"after": 1})[1] == {"after": 1.0}
    assert again("GET", "/auth-check")[0] == 401
    assert machine.commands == ["reboot 1"]


# ---------------------------------------------------------------- commands


@pytest.mark.parametrize("word", ["stop", "pause"])
@pytest.mark.parametrize("state", [MinerState.STOPPED, MinerState.FAILURE, MinerState.SHUTTING_DOWN])
def test_stopping_what_does_not_run_is_a_500(word: str, state: MinerState) -> None:
    machine, _, ask = bench()
    machine.set(state=state)
    status, page = ask("POST", f"/mining/{word}")
    assert (status, page) == (500, {"err": "CGMiner err: Cgminer error failed-to-activate-pause-mode "})
    assert machine.commands == []


@pytest.mark.parametrize("word", ["start", "resume"])
@pytest.mark.parametrize("state", [MinerState.MINING, MinerState.AUTO_TUNING, MinerState.SHUTTING_DOWN])
def test_starting_what_runs_is_a_500(word: str, state: MinerState) -> None:
    machine, _, ask = bench()
    machine.set(state=state)
    status, page = ask("POST", f"/mining/{word}")
    assert (status, page["err"]) == (500, "CGMiner err: Cgminer error failed-to-activate-resume-mode ")
    assert machine.commands == []


def test_commands_reach_the_machine() -> None:
    machine, _, ask = bench()
    for word in ("restart", "pause", "resume", "stop", "restart", "stop", "start"):
        assert ask("POST", f"/mining/{word}") == (200, None)
    assert machine.commands == ["restart", "stop", "start", "stop", "start", "stop", "start"]


def test_a_throttle_can_take_its_time() -> None:
    machine, clock, ask = bench("1.3.4", traps=Traps(throttle_delay_s=80))
    ask("POST", "/mining/throttle", {"percent": 60})
    clock.advance(79)
    assert ask("GET", "/status")[1]["throttled"] == 100
    clock.advance(1)
    ask("GET", "/status")
    assert ask("GET", "/status")[1]["throttled"] == 60
    assert machine.commands == ["throttle 60"]


@pytest.mark.parametrize("percent", [19, 101, None, "x"])
def test_a_throttle_out_of_range_is_refused(percent: object) -> None:
    machine, _, ask = bench("1.3.4")
    assert ask("POST", "/mining/throttle", {"percent": percent})[0] == 500
    assert machine.commands == []


def test_finding_a_machine_toggles_or_obeys() -> None:
    machine, _, ask = bench("1.3.4")
    assert ask("POST", "/find-miner")[1] == {"on": True}
    assert ask("POST", "/find-miner")[1] == {"on": False}
    assert ask("POST", "/find-miner", {"on": True})[1] == {"on": True}
    assert ask("POST", "/locate-miner")[1] == {"is_enabled": False}
    assert not machine.seen.locating


def test_a_body_that_is_no_json_is_a_400() -> None:
    said = emulator_of(Machine(), ManualClock()).answer("POST", "/api/v1/unlock", {}, b"{")
    assert said.status == 400


# ---------------------------------------------------------------- settings


def preset(name: str, **overclock: object) -> dict[str, object]:
    return {"miner": {"overclock": {"preset": name, **overclock}}}


def test_a_preset_waits_for_the_restart_and_requested_is_not_running() -> None:
    machine, _, ask = bench()
    assert ask("POST", "/settings", preset("2550"))[1] == {"restart_required": True, "reboot_required": False}
    assert ask("GET", "/settings")[1]["miner"]["overclock"]["preset"] == "2550"
    assert ask("GET", "/perf-summary")[1]["current_preset"]["name"] == "2800"
    assert ask("GET", "/status")[1]["restart_required"]
    ask("POST", "/mining/restart")
    assert ask("GET", "/perf-summary")[1]["current_preset"]["name"] == "2550"
    assert not ask("GET", "/status")[1]["restart_required"]
    assert machine.commands == ["preset 2550"]


def test_a_stopped_machine_takes_a_preset_without_a_restart() -> None:
    machine, _, ask = bench()
    machine.set(state=MinerState.STOPPED)
    assert not ask("POST", "/settings", preset("2550"))[1]["restart_required"]
    assert machine.commands == ["preset 2550"]
    assert machine.seen.state is MinerState.STOPPED


def test_a_reboot_brings_in_what_waits() -> None:
    machine, _, ask = bench()
    ask("POST", "/settings", preset("2550"))
    ask("POST", "/system/reboot")
    assert machine.commands == ["preset 2550", "reboot 3"]


def test_an_untuned_preset_starts_tuning() -> None:
    machine, _, ask = bench()
    ask("POST", "/settings", preset("4690"))
    ask("POST", "/mining/restart")
    assert machine.seen.state is MinerState.AUTO_TUNING


@pytest.mark.parametrize(
    "body",
    [
        preset("2100"),
        preset("2550", preset_switcher={"top_preset": "nine"}),
        preset("2550", preset_switcher={"enabled": "yes"}),
    ],
)
def test_a_setting_that_does_not_fit_is_a_400_and_changes_nothing(body: dict[str, object]) -> None:
    machine, _, ask = bench()
    before = ask("GET", "/settings")
    assert ask("POST", "/settings", body)[0] == 400
    assert ask("GET", "/settings") == before
    assert machine.commands == []


def test_the_switchers_ceiling_lowers_what_is_asked() -> None:
    machine, _, ask = bench(switcher=Switcher(enabled=True, top_preset="2800"))
    machine.set(preset="2550")
    ask("POST", "/settings", preset("3160"))
    ask("POST", "/mining/restart")
    assert ask("GET", "/settings")[1]["miner"]["overclock"]["preset"] == "3160"
    assert machine.seen.preset == "2800"


def test_a_watt_limit_lowers_what_runs_from_1_3_on() -> None:
    limit = {"miner": {"misc": {"power_limit": 2700, "power_limit_enabled": True}}}
    machine, _, ask = bench("1.3.4")
    assert ask("POST", "/settings", limit)[1]["restart_required"]
    ask("POST", "/mining/restart")
    assert machine.seen.preset == "2550"
    _, _, old = bench("1.2.7")
    assert not old("POST", "/settings", limit)[1]["restart_required"]


@pytest.mark.parametrize(("chip_c", "ends_at"), [(76, "2550"), (65, "2800"), (54, "3160")])
def test_the_switcher_steps_by_temperature_at_its_own_pace(chip_c: int, ends_at: str) -> None:
    switcher = Switcher(enabled=True, top_preset="4690", min_preset="2550", check_time=300)
    machine, clock, ask = bench(switcher=switcher)
    hot = board(chip_temp_max_c=chip_c)
    machine.set(boards=(hot, hot))
    clock.advance(299)
    ask("GET", "/status")
    assert machine.commands == []
    for _ in range(4):
        clock.advance(300)
        ask("GET", "/status")
    assert machine.seen.preset == ends_at, "and never onto an untuned rung or below its floor"


def test_the_switcher_climbs_back_past_what_was_asked_for() -> None:
    """Why a ceiling has to be lowered with the preset (miners.md §1.6)."""
    machine, clock, ask = bench(switcher=Switcher(enabled=True, top_preset="3160", check_time=60))
    cool = board(chip_temp_max_c=50)
    machine.set(boards=(cool,))
    ask("POST", "/settings", preset("2550"))
    ask("POST", "/mining/restart")
    for _ in range(3):
        clock.advance(60)
        ask("GET", "/status")
    assert machine.seen.preset == "3160"


def test_cooling_is_written_immers_and_read_back_immersion() -> None:
    machine, _, ask = bench()
    assert ask("POST", "/settings", {"miner": {"cooling": {"mode": {"name": "immers"}}}})[0] == 200
    assert ask("GET", "/settings")[1]["miner"]["cooling"]["mode"] == {"name": "immers"}
    assert ask("GET", "/summary")[1]["miner"]["cooling"]["settings"]["mode"] == {"name": "immersion"}
    assert machine.commands == ["cooling immersion 0"]


@pytest.mark.parametrize(
    "mode", [{"name": "immersion"}, {"name": "auto"}, {"name": "manual", "param": -1}, {"param": 3}]
)
def test_a_cooling_mode_of_no_known_shape_is_a_400_and_changes_nothing(mode: dict[str, object]) -> None:
    machine, _, ask = bench()
    assert ask("POST", "/settings", {"miner": {"cooling": {"mode": mode}}})[0] == 400
    assert machine.commands == []


def test_pools_are_kept_as_posted() -> None:
    _, _, ask = bench()
    pools = [{"url": "stratum+tcp://new.invalid:1", "user": "a", "pass": "b"}]
    ask("POST", "/settings", {"miner": {"pools": pools}})
    assert ask("GET", "/settings")[1]["miner"]["pools"] == pools


@pytest.mark.parametrize("pool", [-1, 2, 0.5, None, "x"])
def test_a_pool_that_is_not_there_is_a_500(pool: object) -> None:
    machine, _, ask = bench()
    machine.set(other_pools=(SPARE,))
    assert ask("POST", "/mining/switch-pool", {"pool_id": pool}) == (500, {"err": "Could not find pool"})
    assert ask("POST", "/mining/switch-pool", {"pool_id": 1})[0] == 200
    assert machine.commands == ["pool 1"]


# ---------------------------------------------------------------- logs and history


def test_logs_are_text_and_need_no_login() -> None:
    machine = Machine(s21_pro(state=MinerState.FAILURE, description="overheated, chip temp"))
    client = Client(emulator_of(machine, ManualClock(), version="1.3.4"), login=False)
    for name in ("status", "miner", "autotune", "pool", "hwscan", "system", "messages", "api", "*"):
        said = client.emulator.answer("GET", f"/api/v1/logs/{name}", {}, b"")
        assert (said.status, said.kind) == (200, "text/plain")
    told = client.emulator.answer("GET", "/api/v1/logs/miner", {}, b"").body.decode()
    assert "Initializing PSU" in told
    assert "overheated, chip temp" in told
    assert client("GET", "/logs/nonsense")[0] == 500
    old = Client(emulator_of(machine, ManualClock()), login=False)
    assert old("GET", "/logs/hwscan")[0] == 500


def test_events_are_noted_in_each_versions_own_words() -> None:
    for version, words, key in (
        ("1.2.7", ["disable_chain", "overheat", "stop", "reboot", "start", "stop"], "chain_id"),
        ("1.3.4", ["disable_board", "overheat", "stop", "reboot", "start", "stop"], "board_id"),
    ):
        machine, clock, ask = bench(version)
        machine.set(state=MinerState.STOPPED)
        ask("GET", "/status")
        machine.set(state=MinerState.MINING)
        clock.advance(60)
        ask("GET", "/status")
        machine.set(uptime_s=0.0)
        ask("GET", "/status")
        machine.set(state=MinerState.FAILURE, description="overheat protection")
        ask("GET", "/status")
        machine.set(boards=(board(), board(working=False), board()))
        ask("GET", "/status")
        events = ask("GET", "/metrics")[1]["annotations"]
        assert [event["data"]["type"] for event in events] == words
        assert events[0]["data"][key] == 2


def test_a_machine_with_a_memory_of_its_own_is_believed() -> None:
    class Elephant(Machine):
        def past(self) -> tuple[PastView, ...]:
            return tuple(
                PastView(age_s=age, hashrate_ths=100.0 + age, power_w=1.0, fan_duty_pct=2.0)
                for age in (86_400.0, 3600.0, 0.0)
            )

    emulator = emulator_of(Elephant(), ManualClock(), version="1.3.4")
    page = Client(emulator)("GET", "/metrics?time_slice=7200&step=60")[1]
    assert [record["data"]["hashrate"] for record in page["metrics"]] == [100_000, 3_700_000]
    assert page["metrics"][0]["data"]["chip_max_temp"] == 0


@pytest.mark.parametrize("query", ["time_slice=259201", "time_slice=-1", "step=-5"])
def test_a_history_longer_than_72_h_is_refused(query: str) -> None:
    assert bench()[2]("GET", f"/metrics?{query}")[0] == 500


def test_a_clock_that_is_wrong_shows_in_history_logs_and_socket() -> None:
    _, clock, ask = bench(traps=Traps(clock_skew_s=86_400))
    ahead_s = clock.utc_ms() / 1000 + 86_400
    assert ask("GET", "/metrics?step=60")[1]["metrics"][0]["time"] == pytest.approx(ahead_s, abs=60)


def test_a_reboot_under_way_ends_every_session() -> None:
    machine, _, ask = bench()
    assert ask("GET", "/auth-check")[0] == 200
    machine.set(uptime_s=0.0)
    assert ask("GET", "/auth-check")[0] == 401


# ---------------------------------------------------------------- traps


def test_traps_show_on_the_wire() -> None:
    _, _, ask = bench()
    ask.emulator.traps = Traps(settings_broken=True)
    assert ask("GET", "/settings")[0] == 500
    ask.emulator.traps = Traps(settings_ignored=True)
    assert ask("POST", "/settings", preset("2550"))[1]["restart_required"] is False
    ask.emulator.traps = Traps(lockout_s=30)
    assert ask("POST", "/unlock", {"pw": "admin"}) == (429, {"unlock_timeout": 30})
    ask.emulator.traps = Traps(miner_null=True)
    assert ask("GET", "/summary")[1] == {"miner": None}
    ask.emulator.traps = Traps(drop_session_every=2)
    assert [ask("GET", "/auth-check")[0] for _ in range(2)] == [200, 401] or ask("GET", "/auth-check")[
        0
    ] == 401
    ask.emulator.traps = Traps(power_usage_only=True, hash_split=0.7)
    page = ask("GET", "/summary")[1]["miner"]
    assert "power_consumption" not in page
    assert page["hr_realtime"] == pytest.approx(0.7 * sum(chain["hashrate_rt"] for chain in page["chains"]))


def test_failure_shows_empty_boards_and_fans_and_its_code() -> None:
    machine, _, ask = bench()
    machine.set(
        state=MinerState.FAILURE, failure_code=1002, description="Failed to parse miner configuration"
    )
    page = ask("GET", "/summary")[1]["miner"]
    assert (page["chains"], page["cooling"]["fans"], page["chip_temp"]) == ([], [], {"min": 0, "max": 0})
    assert ask("GET", "/status")[1]["failure_code"] == 1002


def test_units_are_the_vendors() -> None:
    machine, _, ask = bench()
    machine.set(preset=None)
    page = ask("GET", "/summary")[1]["miner"]
    assert page["hr_realtime"] == 186_000
    assert page["instant_hashrate"] == 186
    assert page["chains"][0]["voltage"] == 12_800
    assert ask("GET", "/perf-summary")[1]["current_preset"]["globals"] == {"volt": 1280, "freq": 470}
    assert ask("GET", "/info")[1]["system"]["uptime"] == "9 days,  3:58"
    assert msgspec.json.decode(ask.emulator.answer("GET", "/api/v1/model", {}, b"").body)["series"] == "x21"


def test_hydro_boards_show_water_temperatures() -> None:
    machine, _, ask = bench()
    machine.set(boards=(board(water_in_c=32.4, water_out_c=41.6),), model="Antminer S21 XP Hydro")
    chain = ask("GET", "/summary")[1]["miner"]["chains"][0]
    assert (chain["inlet_water_temp"], chain["outlet_water_temp"]) == (32, 42)
    assert ask("GET", "/info")[1]["model"] == "s21xp-hydro"


def test_views_of_the_machine_are_enough_for_every_page() -> None:
    """A machine with nothing but its required fields is served too."""
    bare = s21_pro(boards=(), fans=(), presets=(), preset=None, psu=None, serial="")
    client = Client(emulator_of(Machine(bare), ManualClock()))
    for path in (
        "/info",
        "/status",
        "/summary",
        "/perf-summary",
        "/model",
        "/chains",
        "/settings",
        "/autotune/presets",
    ):
        assert client("GET", path)[0] == 200
    assert client("GET", "/perf-summary")[1]["current_preset"]["name"] == "disabled"
    assert client("GET", "/chains/factory-info")[0] == 200
