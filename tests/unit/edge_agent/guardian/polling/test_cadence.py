"""How often each device is read: what decides trips, what is commanded, what only tells people something."""

import msgspec
import pytest

from edge_agent.config import (
    Contact,
    Curtailment,
    Effect,
    HighLimits,
    Mains,
    PointRef,
    PowerCap,
    SiteFile,
)
from edge_agent.guardian.points import check_points, profiles_of
from edge_agent.guardian.polling.cadence import kept_days, periods_s, too_slow, urgent_devices
from firmware_adapters.site.profile import Profile
from shared.errors import ConfigError
from shared.ids import DeviceId
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind


def test_proofs_and_probes_but_no_miner(site: SiteFile) -> None:
    assert urgent_devices(site) == {"wall-1", "probe-1"}


def test_everything_that_speaks_for_a_zone_or_the_site(site: SiteFile) -> None:
    point = PointRef(device="meter-1", point="power_w")
    zone = msgspec.structs.replace(
        site.zones[0],
        cooling_proof=msgspec.structs.replace(
            site.zones[0].cooling_proof, others=(PointRef(device="flow-1", point="flow_m3h"),)
        ),
        contacts=(
            Contact(
                name="smoke",
                device="io-1",
                point="smoke",
                effect=Effect.ALARM,
                on_unknown=Effect.ALARM,
                on_delay_s=0.0,
            ),
        ),
        bypass_key=PointRef(device="key-1", point="running"),
    )
    limits = HighLimits(release=1.0, warn=2.0, shed=3.0, trip=4.0, on_delay_s=0.0, off_delay_s=0.0)
    whole = msgspec.structs.replace(
        site,
        zones=(zone,),
        power_caps=(
            PowerCap(id="feeder", points=(point,), limits=limits, w_per_unit=1.0, ramp_w_per_min=1.0),
        ),
        mains=Mains(
            device="ups-1",
            on_battery_point="on_battery",
            runtime_point="runtime_s",
            on_delay_s=1.0,
            restore_after_s=1.0,
            stages=(),
        ),
        curtailment=Curtailment(
            meter=(PointRef(device="meter-2", point="power_w"),),
            within_pct=2.0,
            within_w=1.0,
            confirm_for_s=1.0,
            restore_jitter_s=1.0,
        ),
    )
    assert urgent_devices(whole) == {
        *("wall-1", "flow-1", "probe-1", "io-1", "key-1", "meter-1", "ups-1", "meter-2"),
    }


def _adviced(site: SiteFile, **fields: object) -> tuple[SiteFile, dict[DeviceId, Profile]]:
    """The site with a weather station, and everybody's profiles; the station's changed by `fields`."""
    station = DeviceEntry(
        id=DeviceId("weather-1"),
        kind=DeviceKind.PROBE,
        adapter="modbus",
        profile="generic-weather-station",
        host="127.0.0.1",
        port=15030,
        zone=site.zones[0].id,
    )
    whole = msgspec.structs.replace(site, devices=(*site.devices, station))
    profiles = profiles_of(whole)
    profiles[station.id] = msgspec.structs.replace(profiles[station.id], **fields)
    return whole, profiles


def test_a_sensor_is_read_as_often_as_its_profile_says_and_what_decides_trips_keeps_its_cadence(
    site: SiteFile,
) -> None:
    whole, profiles = _adviced(site)
    profiles[DeviceId("probe-1")] = msgspec.structs.replace(profiles[DeviceId("probe-1")], interval_s=5.0)
    found = periods_s(whole, profiles)
    assert found["weather-1"] == 60.0
    assert found["m-1"] == site.timing.poll_s
    assert found["probe-1"] == found["wall-1"] == site.timing.safety_poll_s


def test_what_is_commanded_is_never_read_more_slowly_than_the_site_says(site: SiteFile) -> None:
    profiles = profiles_of(site)
    pdu = DeviceId("pdu-1")
    profiles[pdu] = msgspec.structs.replace(profiles[pdu], interval_s=600.0)
    assert periods_s(site, profiles)[pdu] == site.timing.poll_s
    profiles[pdu] = msgspec.structs.replace(profiles[pdu], interval_s=0.5)
    assert periods_s(site, profiles)[pdu] == 0.5


def test_the_site_files_own_cadence_goes_before_the_profiles(site: SiteFile) -> None:
    whole, profiles = _adviced(site)
    *rest, station = whole.devices
    own = msgspec.structs.replace(whole, devices=(*rest, msgspec.structs.replace(station, poll_s=7.0)))
    assert periods_s(own, profiles)["weather-1"] == 7.0


def test_an_interlock_refuses_a_sensor_whose_values_are_too_old_by_its_own_profile(site: SiteFile) -> None:
    profiles = profiles_of(site)
    probe, stale_s = DeviceId("probe-1"), site.timing.stale_after_s
    profiles[probe] = msgspec.structs.replace(profiles[probe], interval_s=stale_s)
    assert not list(too_slow(site, profiles)), "as old as it may be"
    profiles[probe] = msgspec.structs.replace(profiles[probe], interval_s=stale_s + 1)
    (said,) = too_slow(site, profiles)
    assert said.startswith(f"device probe-1: its profile has a new value every {stale_s + 1:g} s")
    with pytest.raises(ConfigError, match="device probe-1: its profile has a new value every"):
        check_points(site, profiles)
    whole, slow = _adviced(site, interval_s=86_400.0)
    assert not list(too_slow(whole, slow)), "it only tells people something"


def test_how_long_values_are_worth_keeping_comes_from_the_profiles(site: SiteFile) -> None:
    _, profiles = _adviced(site)
    profiles[DeviceId("probe-1")] = msgspec.structs.replace(
        profiles[DeviceId("probe-1")], retention_days=None
    )
    assert kept_days(profiles) == {"weather-1": 365.0}
