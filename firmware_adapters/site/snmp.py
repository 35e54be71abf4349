"""The one driver for everything that speaks SNMP; what a device is stands in its profile.

What the agent has is learnt at the first read and kept until `facts()` looks anew, or until the agent starts
anew: optional objects that it lacks are not asked for again, so an 8-outlet PDU under a 48-outlet profile
costs 8 outlets; decimals and the rows of sensor tables are read once. A value that is no number, or that the
profile's enumeration does not list, is `SENSOR_ERROR` and carries no number.

Without a credential the community is `public` and nothing can be written: writing needs a named secret. A
credential with a user is one of SNMP v3 (`transport.snmp_user`).
"""

from collections.abc import Collection, Iterable

from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.site.profile import Profile, SnmpRules, WriteRule, profile_of
from firmware_adapters.site.snmp_learnt import (
    UPTIME,
    Learnt,
    Row,
    present_points,
    readings_of,
    rows_of,
    whole_digits,
)
from firmware_adapters.transport.snmp import SnmpLink, SnmpValue, open_link
from firmware_adapters.transport.snmp_user import Access, access_of
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.errors import AuthFailed, ConfigError, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import DeviceKind

PUBLIC = "public"
DEFAULT_COMMUNITIES = ("public", "private")
OUTLET = "outlet_on."


class SnmpDevice:
    """One SNMP agent seen through a profile: `Telemetry`, and `OutletControl` where it has outlets."""

    def __init__(
        self,
        profile: Profile,
        link: SnmpLink,
        *,
        timeout_s: float,
        may_write: bool,
        default_password: bool = False,
        unit: int = 1,
    ) -> None:
        """`may_write` false refuses every write; `unit` is the unit in a chain behind the agent.

        Raises `ConfigError` for a profile that is not SNMP, or that has no such unit.
        """
        if profile.snmp is None:
            raise ConfigError(f"profile {profile.model!r} is not for SNMP")
        why = profile.unit_problem(unit)
        if why is not None:
            raise ConfigError(why)
        self.kind: DeviceKind = profile.kind
        self._unit = unit
        self._profile = profile.for_unit(unit)
        self._rules: SnmpRules = self._profile.snmp or profile.snmp
        self._link = link
        self._timeout_s = timeout_s
        self._may_write = may_write
        self._default_password = default_password
        self._learnt: Learnt | None = None
        self._uptime: SnmpValue | None = None

    async def read(self) -> Observation:
        """See `Telemetry`. Raises `Unsupported` when the agent has none of the profile's objects."""
        learnt = self._learnt
        if learnt is None:
            return await self._learn()
        found = await self._get(learnt.oids)
        if self._started_anew(found):
            return await self._learn()
        if not found.keys() - {UPTIME}:
            raise Unsupported(f"the agent has no object of {self._profile.model}; is it another model?")
        return Observation(readings=readings_of(learnt, self._rules.sensors, found))

    async def _learn(self) -> Observation:
        """The first read: asks for everything that the profile knows, and keeps what there is."""
        self._learnt = None
        found = await self._get(point.oid for point in self._profile.points if point.oid is not None)
        wheres = sorted({point.where_oid for point in self._profile.points if point.where_oid is not None})
        points = present_points(self._profile, found, await self._get(wheres)) if found else ()
        wanted = {point.digits_oid for point in points if point.digits_oid is not None and point.oid in found}
        digits = whole_digits(await self._get(sorted(wanted))) if wanted else {}
        learnt = Learnt(points=points, digits=digits, rows=await self._rows())
        if learnt.beside:
            found |= await self._get(learnt.beside)
        if not found.keys() - {UPTIME}:
            raise Unsupported(f"the agent has no object of {self._profile.model}; is it another model?")
        self._uptime = found.get(UPTIME)
        self._learnt = learnt
        return Observation(readings=readings_of(learnt, self._rules.sensors, found))

    async def _rows(self) -> tuple[Row, ...]:
        table = self._rules.sensors
        if table is None:
            return ()
        types = await self._walk(table.type, table.max_rows)
        if not types:
            return ()
        exponents = await self._walk(table.exponent, table.max_rows)
        return rows_of(table, types, exponents, await self._walk(table.digits, table.max_rows))

    def _started_anew(self, found: dict[str, SnmpValue]) -> bool:
        before, self._uptime = self._uptime, found.get(UPTIME)
        return isinstance(before, int) and isinstance(self._uptime, int) and self._uptime < before

    async def _get(self, oids: Iterable[str]) -> dict[str, SnmpValue]:
        asked = tuple(oids)
        return await self._link.get(asked, timeout_s=self._timeout_s) if asked else {}

    async def _walk(self, oid: str, max_rows: int) -> dict[str, SnmpValue]:
        return await self._link.walk(oid, timeout_s=self._timeout_s, max_rows=max_rows)

    async def switch_outlet(self, outlet: int, *, on: bool) -> None:
        """See `OutletControl`. Raises `Unsupported` for an outlet that this device does not have."""
        point = self._profile.point(f"{OUTLET}{outlet}")
        rule = point.write if point is not None else None
        if self._unit > 1 and point is None:
            raise Unsupported(
                f"{self._profile.model}: unit {self._unit} of a chain has no outlet {outlet} that is known"
            )
        if point is None or rule is None:
            raise Unsupported(f"{self._profile.model} has no switched outlet {outlet}")
        if self._learnt is not None and point not in self._learnt.points:
            raise Unsupported(f"this {self._profile.model} has no outlet {outlet}")
        if not self._may_write:
            raise AuthFailed(f"switching an outlet of {self._profile.model} needs a credential")
        word = "1" if on else "0"
        oid, value = command_of(rule, point.oid, word), rule.values.get(word)
        if oid is None or value is None:
            raise Unsupported(f"{self._profile.model} cannot switch an outlet {'on' if on else 'off'}")
        await self._link.set_integer(oid, value, timeout_s=self._timeout_s)

    async def facts(self) -> DeviceFacts:
        """See `Telemetry`. `firmware` is what the agent says of itself; learns the device anew."""
        found = await self._get((self._rules.identity_oid,))
        await self._learn()
        said = found.get(self._rules.identity_oid, "")
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return DeviceFacts(
            model=self._profile.model,
            firmware=text[:200],
            capabilities=capabilities_of(
                self._profile, may_write=self._may_write, only=await self._commanded()
            ),
            default_password=self._default_password,
        )

    async def _commanded(self) -> set[str]:
        """The present points whose command objects the agent has; a metered tier has none."""
        learnt = self._learnt.points if self._learnt is not None else ()
        commands = {
            point.name: oids
            for point in learnt
            if point.write is not None and (oids := commands_of(point.write, point.oid))
        }
        found = await self._get(sorted({oid for oids in commands.values() for oid in oids}))
        return {name for name, oids in commands.items() if oids <= found.keys()}

    async def close(self) -> None:
        """See `Telemetry`."""
        await self._link.close()


def command_of(rule: WriteRule, read_oid: str | None, value: str) -> str | None:
    """The object that commands `value`; None where the profile has none."""
    return rule.oids.get(value) if rule.oids else rule.oid or read_oid


def commands_of(rule: WriteRule, read_oid: str | None) -> set[str]:
    """All objects that command a point."""
    return {oid for value in rule.values if (oid := command_of(rule, read_oid, value)) is not None}


def capabilities_of(
    profile: Profile, *, may_write: bool, only: Collection[str] | None = None
) -> tuple[Capability, ...]:
    """Telemetry, and OUTLETS where there are switched outlets and a secret allows writing.

    `only` are the points that the device at hand can really switch; None: as many as the profile knows.
    """
    outlets = tuple(
        point
        for point in profile.writable
        if point.name.startswith(OUTLET) and (only is None or point.name in only)
    )
    telemetry = Capability(ability=Ability.TELEMETRY)
    if not outlets or not may_write:
        return (telemetry,)
    settle_s = max(point.write.settle_s for point in outlets if point.write is not None)
    names = tuple(point.name for point in outlets)
    return (
        telemetry,
        Capability(ability=Ability.OUTLETS, settle_s=settle_s, points=names, low=0.0, high=1.0),
    )


def open_device(entry: DeviceEntry, credential: Credential | None, *, timeout_s: float) -> SnmpDevice:
    """The driver for one entry; `unit_id` is the unit in a chain of PDUs. Raises `ConfigError`."""
    profile = profile_of(entry, "SNMP")
    if profile.snmp is None:
        raise ConfigError(f"device {entry.id}: profile {entry.profile} is not for SNMP")
    access: Access = PUBLIC
    if credential is not None:
        access = access_of(credential.user, credential.secret)
    return SnmpDevice(
        profile,
        open_link(entry.host, entry.port, access, max_oids=profile.snmp.max_oids),
        timeout_s=timeout_s,
        may_write=credential is not None,
        default_password=credential is not None and access in DEFAULT_COMMUNITIES,
        unit=entry.unit_id,
    )
