"""From the board to the core's inputs: what is old or bad is unknown, humidities become margins."""

from pathlib import Path

import pytest

from edge_agent.config import SiteFile
from edge_agent.guardian import sensing, views
from edge_agent.guardian.interlocks import dew_point
from edge_agent.guardian.interlocks.inputs import ContactInput, ModelClaim, SensorInput, ZoneInput
from edge_agent.guardian.polling.board import Last
from shared.ids import DeviceId
from shared.telemetry import DeviceKind, Quality, Reading, Sample
from support import zones
from support.guardian import make_site

NOW_S = 100.0


def told(device: str, *, age_s: float = 0.0, **points: float | None) -> tuple[DeviceId, Last]:
    """One device's last word; `water_temp_c__1` is `water_temp_c.1`, and None a bad reading."""
    readings = {
        name.replace("__", "."): Reading(value) if value is not None else Reading(None, Quality.SENSOR_ERROR)
        for name, value in points.items()
    }
    sample = Sample(
        device=DeviceId(device),
        kind=DeviceKind.PROBE,
        at_s=NOW_S - age_s,
        at_ms=0,
        boot="b",
        seq=1,
        readings=readings,
    )
    return DeviceId(device), Last(good=sample)


def seen(site: SiteFile, *lasts: tuple[DeviceId, Last]) -> ZoneInput:
    return views.zone_input(
        site,
        site.zones[0],
        (),
        dict(lasts),
        {},
        now_s=NOW_S,
        at_ms=0,
        lease_overdue_s=0.0,
        model=ModelClaim.NONE,
    )


class TestProbes:
    def test_in_the_order_of_the_file_and_none_where_nothing_was_heard(self, tmp_path: Path) -> None:
        site = make_site(tmp_path, edit=zones.probes(3))
        inputs = seen(site, told("probe-3", air_temp_c=26.0), told("probe-1", air_temp_c=24.0))
        assert inputs.sensors == {
            "inlet_air_c": (
                SensorInput(device=DeviceId("probe-1"), value=24.0),
                SensorInput(device=DeviceId("probe-2"), value=None),
                SensorInput(device=DeviceId("probe-3"), value=26.0),
            )
        }

    @pytest.mark.parametrize(("age_s", "value"), [(6.0, 24.0), (6.1, None)])
    def test_older_than_stale_is_unknown(self, tmp_path: Path, age_s: float, value: float | None) -> None:
        inputs = seen(make_site(tmp_path), told("probe-1", age_s=age_s, air_temp_c=24.0))
        assert inputs.sensors["inlet_air_c"][0].value == value

    def test_a_bad_reading_is_unknown(self, tmp_path: Path) -> None:
        inputs = seen(make_site(tmp_path), told("probe-1", air_temp_c=None))
        assert inputs.sensors["inlet_air_c"][0].value is None

    def test_humidity_becomes_the_waters_margin_to_the_dew_point(self, tmp_path: Path) -> None:
        site = make_site(tmp_path, edit=zones.hydro)
        inputs = seen(
            site, told("loop-1", water_temp_c__1=20.0), told("probe-1", air_temp_c=25.0, humidity_pct=60.0)
        )
        [margin] = inputs.sensors["dew_margin_c"]
        assert margin.value == dew_point.margin_k(20.0, 25.0, 60.0)
        assert margin.value == pytest.approx(3.3, abs=0.1)

    @pytest.mark.parametrize("missing", ["water", "air", "humidity"])
    def test_a_margin_needs_all_three(self, tmp_path: Path, missing: str) -> None:
        site = make_site(tmp_path, edit=zones.hydro)
        loop = told("loop-1", water_temp_c__1=None if missing == "water" else 20.0)
        air = None if missing == "air" else 25.0
        probe = told("probe-1", air_temp_c=air, humidity_pct=None if missing == "humidity" else 60.0)
        assert seen(site, loop, probe).sensors["dew_margin_c"][0].value is None

    def test_of_two_waters_the_colder_counts_for_the_margin(self, tmp_path: Path) -> None:
        second = '\n[[zones.sensors]]\nrole = "water_c"\ndevice = "loop-2"\npoint = "water_temp_c.1"\n'
        edit = zones.edits(zones.hydro, zones.replaced("[[devices]]", second + "\n[[devices]]"))
        inputs = seen(
            make_site(tmp_path, edit=edit),
            told("loop-1", water_temp_c__1=20.0),
            told("loop-2", water_temp_c__1=18.0),
            told("probe-1", air_temp_c=25.0, humidity_pct=60.0),
        )
        assert inputs.sensors["dew_margin_c"][0].value == dew_point.margin_k(18.0, 25.0, 60.0)

    def test_the_air_stands_beside_its_humidity(self) -> None:
        assert sensing.air_beside("humidity_pct") == "air_temp_c"
        assert sensing.air_beside("humidity_pct.2") == "air_temp_c.2"


class TestFlags:
    def test_contacts_and_key(self, tmp_path: Path) -> None:
        site = make_site(tmp_path, edit=zones.edits(zones.CONTACTED, zones.KEY))
        box = told("contacts-1", estop_pressed=1.0, smoke=0.0, water_leak=None, bypass_key=1.0)
        inputs = seen(site, box)
        assert inputs.contacts == (
            ContactInput(name="estop", active=True),
            ContactInput(name="smoke", active=False),
            ContactInput(name="leak", active=None),
            ContactInput(name="door", active=None),
        )
        assert inputs.bypass_key is True

    def test_without_a_key_switch_nothing_is_known_of_one(self, tmp_path: Path) -> None:
        site = make_site(tmp_path, edit=zones.CONTACTED)
        assert seen(site, told("contacts-1", bypass_key=1.0)).bypass_key is None


class TestCooling:
    def test_feedbacks_and_set_points(self, tmp_path: Path) -> None:
        others = 'others = [{ device = "wall-1", point = "speed_pct.2" }]\nproven_for_s'
        site = make_site(tmp_path, edit=zones.replaced("proven_for_s", others))
        points = {"speed_pct": 79.0, "speed_pct.2": 78.0, "speed_setpoint_pct": 100.0}
        inputs = seen(site, told("wall-1", **points))
        assert (inputs.cooling_value, inputs.cooling_others) == (79.0, (78.0,))
        assert inputs.cooling_points == (100.0,)
        assert inputs.cooling_at_fail_safe == (True,)
        assert inputs.cooling_at_off == (False,), "this actuator has no off value"

    @pytest.mark.parametrize(("setpoint", "off"), [(0.0, True), (0.4, True), (20.0, False)])
    def test_off_is_read_back_too(self, tmp_path: Path, setpoint: float, off: bool) -> None:
        site = make_site(tmp_path, edit=zones.CONTACTED)
        assert seen(site, told("wall-1", speed_setpoint_pct=setpoint)).cooling_at_off == (off,)

    def test_a_set_point_is_a_feedback_for_less_long_than_it_is_known(self, tmp_path: Path) -> None:
        inputs = seen(make_site(tmp_path), told("wall-1", age_s=7.0, speed_setpoint_pct=100.0))
        assert inputs.cooling_points == (None,)
        assert inputs.cooling_at_fail_safe == (True,), "it need not be written again before it is lost"
