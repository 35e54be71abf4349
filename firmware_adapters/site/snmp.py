"""The one driver for everything that speaks SNMP; what a device is stands in its profile.

Optional objects that the agent does not have are learnt at the first read and not asked for again until
`facts()` looks anew, so a 8-outlet PDU under a 48-outlet profile costs 8 outlets. A value that is no number,
or that the profile's enumeration does not list, is `SENSOR_ERROR` and carries no number.

Without a credential the community is `public` and nothing can be written: writing needs a named secret.
"""

from collections.abc import Iterable

from firmware_adapters.capabilities import Credential, Observation
from firmware_adapters.site.codec import BAD, to_reading
from firmware_adapters.site.profile import Point, Profile, SnmpRules, load_profile
from firmware_adapters.transport.snmp import SnmpLink, SnmpValue, open_link
from shared.capabilities import Ability, Capability, DeviceFacts
from shared.errors import AuthFailed, ConfigError, Unsupported
from shared.inventory import DeviceEntry
from shared.telemetry import MISSING, DeviceKind, Reading

PUBLIC = "public"
DEFAULT_COMMUNITIES = ("public", "private")


class SnmpDevice:
    """One SNMP agent seen through a profile: `Telemetry` and `OutletControl`."""

    def __init__(
        self,
        profile: Profile,
        link: SnmpLink,
        *,
        timeout_s: float,
        may_write: bool,
        default_password: bool = False,
    ) -> None:
        """`may_write` false refuses every write. Raises `ConfigError` for a profile that is not SNMP."""
        if profile.snmp is None:
            raise ConfigError(f"profile {profile.model!r} is not for SNMP")
        self.kind: DeviceKind = profile.kind
        self._profile = profile
        self._rules: SnmpRules = profile.snmp
        self._link = link
        self._timeout_s = timeout_s
        self._may_write = may_write
        self._default_password = default_password
        self._present: tuple[Point, ...] | None = None

    async def read(self) -> Observation:
        """See `Telemetry`. Raises `Unsupported` when the agent has none of the profile's objects."""
        asked = self._present if self._present is not None else self._profile.points
        found = await self._get(point.oid for point in asked if point.oid is not None)
        if not found:
            raise Unsupported(f"the agent has no object of {self._profile.model}; is it another model?")
        if self._present is None:
            self._present = tuple(p for p in self._profile.points if not p.optional or p.oid in found)
        return Observation(
            readings={point.name: _reading(point, found.get(point.oid or "")) for point in self._present}
        )

    async def _get(self, oids: Iterable[str]) -> dict[str, SnmpValue]:
        return await self._link.get(tuple(oids), timeout_s=self._timeout_s)

    async def switch_outlet(self, outlet: int, on: bool) -> None:  # noqa: FBT001 - signature of OutletControl
        """See `OutletControl`. Raises `Unsupported` for an outlet that the profile does not have."""
        point = self._profile.point(f"outlet_on.{outlet}")
        rule = point.write if point is not None else None
        if point is None or rule is None:
            raise Unsupported(f"{self._profile.model} has no switched outlet {outlet}")
        if self._present is not None and point not in self._present:
            raise Unsupported(f"this {self._profile.model} has no outlet {outlet}")
        if not self._may_write:
            raise AuthFailed(f"switching an outlet of {self._profile.model} needs a credential")
        oid, value = rule.oid or point.oid, rule.values.get("1" if on else "0")
        if oid is None or value is None:
            raise Unsupported(f"{self._profile.model} cannot switch an outlet {'on' if on else 'off'}")
        await self._link.set_integer(oid, value, timeout_s=self._timeout_s)

    async def facts(self) -> DeviceFacts:
        """See `Telemetry`. `firmware` is what the agent says of itself."""
        self._present = None
        found = await self._get((self._rules.identity_oid,))
        said = found.get(self._rules.identity_oid, "")
        text = said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)
        return DeviceFacts(
            model=self._profile.model,
            firmware=text[:200],
            capabilities=capabilities_of(self._profile, may_write=self._may_write),
            default_password=self._default_password,
        )

    async def close(self) -> None:
        """See `Telemetry`."""
        await self._link.close()


def _reading(point: Point, value: SnmpValue | None) -> Reading:
    if value is None:
        return MISSING
    if not isinstance(value, int | float):
        return BAD
    low, high = point.bounds
    return to_reading(
        float(value),
        scale=point.scale,
        offset=point.offset,
        low=low,
        high=high,
        not_available=point.not_available,
        values=point.values,
    )


def capabilities_of(profile: Profile, *, may_write: bool) -> tuple[Capability, ...]:
    """Telemetry, and OUTLETS where the profile has switched outlets and a secret allows writing."""
    outlets = tuple(point for point in profile.writable if point.name.startswith("outlet_on."))
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
    """The driver for one entry; the credential's secret is the community. Raises `ConfigError`."""
    if entry.profile is None:
        raise ConfigError(f"device {entry.id}: an SNMP device needs a profile")
    profile = load_profile(entry.profile)
    if profile.kind is not entry.kind:
        raise ConfigError(
            f"device {entry.id}: profile {entry.profile} is a {profile.kind}, not a {entry.kind}"
        )
    if profile.snmp is None:
        raise ConfigError(f"device {entry.id}: profile {entry.profile} is not for SNMP")
    community = credential.secret if credential is not None else PUBLIC
    return SnmpDevice(
        profile,
        open_link(entry.host, entry.port, community, max_oids=profile.snmp.max_oids),
        timeout_s=timeout_s,
        may_write=credential is not None,
        default_password=credential is not None and community in DEFAULT_COMMUNITIES,
    )
