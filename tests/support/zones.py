"""Additions to the small site file of `support.guardian`: more probes, contacts, a key, a hydro zone.

Each is an `edit` for `make_site`, and they can be chained with `edits`.
"""

from collections.abc import Callable

from shared.ids import DeviceId

CONTACTS = DeviceId("contacts-1")
LOOP = DeviceId("loop-1")

Edit = Callable[[str], str]


def edits(*several: Edit) -> Edit:
    """One edit that does several, first to last."""

    def edit(text: str) -> str:
        for each in several:
            text = each(text)
        return text

    return edit


def replaced(old: str, new: str) -> Edit:
    """The first `old` replaced by `new`; the file must have one."""

    def edit(text: str) -> str:
        assert old in text, old
        return text.replace(old, new, 1)

    return edit


def _device(name: str, kind: str, profile: str, port: int) -> str:
    return (
        f'\n[[devices]]\nid = "{name}"\nkind = "{kind}"\nadapter = "modbus"\nprofile = "{profile}"\n'
        f'host = "127.0.0.1"\nport = {port}\nzone = "hall-1"\n'
    )


def _in_zone(tables: str) -> Edit:
    """Put tables of the zone before the devices."""
    return replaced("[[devices]]", tables.strip() + "\n\n[[devices]]")


def _limits(name: str, *, release: float, warn: float, shed: float, trip: float, tighten: float) -> str:
    return (
        f"\n[zones.limits.{name}]\nrelease = {release}\nwarn = {warn}\nshed = {shed}\ntrip = {trip}\n"
        f"on_delay_s = 4.0\noff_delay_s = 10.0\ntighten = {tighten}\n"
    )


def probes(count: int) -> Edit:
    """`count` probes of inlet air, `probe-1` to `probe-<count>`; limits tighten by 2 K with one left."""
    sensors = "".join(
        f'\n[[zones.sensors]]\nrole = "inlet_air_c"\ndevice = "probe-{n}"\npoint = "air_temp_c"\n'
        for n in range(2, count + 1)
    )
    devices = "".join(_device(f"probe-{n}", "probe", "xy-md02", 15100 + n) for n in range(2, count + 1))
    return edits(
        replaced("trip = 45.0\n", "trip = 45.0\ntighten = 2.0\n"),
        _in_zone(sensors),
        lambda text: text + devices,
    )


def contact(
    name: str,
    point: str,
    effect: str,
    *,
    on_unknown: str = "alarm",
    on_delay_s: float = 0.0,
    fans: str | None = None,
) -> Edit:
    """One contact of `contacts-1`."""
    table = (
        f'[[zones.contacts]]\nname = "{name}"\ndevice = "{CONTACTS}"\npoint = "{point}"\n'
        f'effect = "{effect}"\non_unknown = "{on_unknown}"\non_delay_s = {on_delay_s}\n'
    )
    return _in_zone(table + (f'fans = "{fans}"\n' if fans else ""))


def contacts_device(text: str) -> str:
    """The device that all contacts and the key switch hang on, and a value that stands the fans still."""
    text = text.replace("low = 0.0\nhigh = 100.0\n", "low = 20.0\nhigh = 100.0\noff = 0.0\n", 1)
    return text + _device(CONTACTS, "contacts", "contacts", 15200)


KEY: Edit = replaced(
    'cooling = "air"\n', f'cooling = "air"\nbypass_key = {{ device = "{CONTACTS}", point = "bypass_key" }}\n'
)
"""A maintenance key switch on `contacts-1`."""

CONTACTED: Edit = edits(
    contact("estop", "estop_pressed", "trip", on_unknown="trip", fans="leave"),
    contact("smoke", "smoke", "trip", on_unknown="inhibit", fans="off"),
    contact("leak", "water_leak", "alarm", on_delay_s=3.0),
    contact("door", "door_open", "inhibit", on_unknown="inhibit"),
    contacts_device,
)
"""Emergency stop, smoke, leak and door, each with another effect."""


def hydro(text: str) -> str:
    """A hydro zone: three flow probes (tighten 2 m³/h), one of water, one of humidity for the dew point."""
    limits = (
        _limits("water_c", release=36, warn=40, shed=43, trip=45, tighten=1)
        + _limits("water_min_c", release=24, warn=22, shed=21, trip=20, tighten=1)
        + _limits("flow_m3h", release=18, warn=16, shed=12, trip=8, tighten=2)
        + _limits("dew_margin_c", release=6, warn=4, shed=3, trip=2, tighten=0.5)
    )
    sensors = "".join(
        f'\n[[zones.sensors]]\nrole = "flow_m3h"\ndevice = "loop-{n}"\npoint = "flow_m3h"\n'
        for n in (1, 2, 3)
    )
    sensors += f'\n[[zones.sensors]]\nrole = "water_c"\ndevice = "{LOOP}"\npoint = "water_temp_c.1"\n'
    sensors += '\n[[zones.sensors]]\nrole = "dew_margin_c"\ndevice = "probe-1"\npoint = "humidity_pct"\n'
    devices = "".join(_device(f"loop-{n}", "probe", "water-loop", 15300 + n) for n in (1, 2, 3))
    return edits(
        replaced('cooling = "air"', 'cooling = "hydro"'),
        replaced("[zones.cooling_proof]", limits + "\n[zones.cooling_proof]"),
        _in_zone(sensors),
        lambda old: old + devices,
    )(text)
