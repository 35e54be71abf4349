"""A machine that does not say what it is: only read, and the person is told so."""

from typing import Any

import pytest

from firmware_adapters.capabilities import WRITES, Credential
from firmware_adapters.discovery.ask import Asker
from firmware_adapters.discovery.examine import Examined, Examiner, entry_for
from firmware_adapters.discovery.probe import Look, probe
from firmware_adapters.discovery.report import Probed, as_json, warnings
from firmware_adapters.discovery.via_guardian import as_probed
from firmware_adapters.miners.emulated import MinerView
from firmware_adapters.miners.emulator_wire import Answer, WebEmulator
from firmware_adapters.registry import ADAPTERS
from shared.capabilities import DeviceFacts
from shared.clock import ManualClock, SystemClock
from shared.errors import DeviceError, MalformedReply, Unreachable
from shared.shown import DeviceShown
from support.mixed_site import FIRMWARES, credential_of
from support.probe_fleet import fleet

UNTOLD = "did not tell its firmware version: read-only until it does, every control is refused"


def controls(examined: Examined | None) -> list[str]:
    assert examined is not None
    return [one.ability for one in examined.capabilities if one.ability in WRITES]


async def examined_without_facts(adapter: str, failure: DeviceError, told: str = "") -> Examined:
    """A machine of which no page that says what it is can be read."""
    examiner = Examiner(
        entry_for(adapter, "127.0.0.1", 9), None, timeout_s=1.0, clock=ManualClock(), told_firmware=told
    )

    async def facts() -> DeviceFacts:
        raise failure

    examiner._device.facts = facts  # type: ignore[method-assign] # the page that fails
    return await examiner.examine(sample=False)


@pytest.mark.parametrize("failure", [Unreachable("hangs"), MalformedReply("half a page")])
@pytest.mark.parametrize("adapter", FIRMWARES)
async def test_without_its_facts_no_control_is_listed_and_that_is_said(
    adapter: str, failure: DeviceError
) -> None:
    examined = await examined_without_facts(adapter, failure)
    assert controls(examined) == []
    assert examined.capabilities, "what its adapter can read is still listed"
    assert examined.warnings == (UNTOLD,)


@pytest.mark.parametrize("adapter", FIRMWARES)
async def test_a_version_never_seen_is_named_where_only_that_was_told(adapter: str) -> None:
    examined = await examined_without_facts(adapter, Unreachable("hangs"), told="99.99 of tomorrow")
    assert controls(examined) == []
    assert examined.warnings == (
        "firmware version '99.99 of tomorrow' has never been seen: read-only, every control is refused",
    )


async def test_a_page_that_is_not_there_costs_only_what_it_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    """An adapter that polls hands the first refusal on, to be asked again; a probe looks only once."""
    async with fleet("127.61.7", adapters=("vnish",)) as machines, Asker() as asker:
        machine = machines["vnish"]
        assert isinstance(machine.emulator, WebEmulator)
        said = machine.emulator._answer

        def without(view: MinerView, method: str, path: str, *rest: Any) -> Answer:
            return Answer(404, b"{}") if path.endswith("/presets") else said(view, method, path, *rest)

        monkeypatch.setattr(machine.emulator, "_answer", without)
        key = Look(credential=credential_of("vnish"))
        found = await probe(asker, machine.host, machine.port, key, SystemClock())
    assert found.examined is not None
    assert found.examined.facts is not None
    assert (found.examined.facts.model, found.examined.facts.presets) == ("Antminer S21 Pro", ())
    assert "/autotune/presets: HTTP 404" in " ".join(one.why for one in found.examined.not_read)


async def test_a_wrong_password_lists_no_control_although_the_version_is_known() -> None:
    async with fleet("127.85.21", adapters=("vnish",)) as machines:
        one = machines["vnish"]
        wrong = Credential(user=credential_of("vnish").user, secret="not-this-one")
        async with Asker() as asker:
            found = await probe(asker, one.host, one.port, Look(credential=wrong), SystemClock())
    assert found.examined is not None
    assert found.examined.facts is None
    assert controls(found.examined) == []
    assert not [one for one in as_json(found)["capabilities"] if one["writes"]]  # type: ignore[attr-defined]
    assert any("did not tell what it can do: read-only until it does" in line for line in warnings(found))


def test_what_a_guardian_was_not_told_is_no_better() -> None:
    shown = DeviceShown(entry=entry_for("vnish", "10.0.0.7", 80))
    found = as_probed(shown)
    assert controls(found.examined) == []
    assert UNTOLD in warnings(found)


def test_equipment_keeps_what_its_profile_declares() -> None:
    entry = entry_for("modbus", "10.0.0.7", 502)
    assert "modbus" in ADAPTERS or entry.adapter == "modbus"
    found = as_probed(DeviceShown(entry=entry))
    assert isinstance(found, Probed)
    assert warnings(found) == []
