"""The one error tree.

::

    MinewardenError            code, permanent
    ├── ConfigError            a file a person wrote cannot be used        (permanent)
    ├── DeviceError            talking to one device failed
    │   ├── Unreachable        no connection, or it closed                 (transient)
    │   ├── DeviceTimeout      connected, but no whole reply in time       (transient)
    │   ├── MalformedReply     a reply that does not parse or lies         (transient)
    │   ├── AuthFailed         the credential was refused                  (permanent)
    │   ├── Busy               refused in the present state                (transient)
    │   └── Unsupported        the device does not have this ability       (permanent)
    ├── WireError              a frame or message from another process is unusable   (permanent)
    ├── SecurityError          signature, scope, expiry or counter refused (permanent)
    ├── ArtifactError          a model artefact is unusable                (permanent)
    └── StoreError             the local store refused                     (transient)

`permanent` means that trying again without a change by a person is pointless, so callers decide on
back-off without knowing which vendor failed. Callers may catch at any height. Always `raise ... from`.
"""


class MinewardenError(Exception):
    """Root of every error that Minewarden raises on purpose."""

    code: str = "error"
    permanent: bool = True


class ConfigError(MinewardenError):
    """A file that a person wrote cannot be used; the text says where and what is expected."""

    code = "config"


class DeviceError(MinewardenError):
    """Talking to one device failed."""

    code = "device"
    permanent = False


class Unreachable(DeviceError):
    """No connection could be made, or the peer closed it before a reply."""

    code = "unreachable"


class DeviceTimeout(DeviceError):
    """The peer is connected but gave no whole reply before the deadline."""

    code = "timeout"


class MalformedReply(DeviceError):
    """The reply does not parse, or contradicts itself; never becomes a zero."""

    code = "malformed"


class AuthFailed(DeviceError):
    """The credential was refused; `retry_after_s` is the device's own lock-out where it tells one."""

    code = "auth"
    permanent = True

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Busy(DeviceError):
    """The device refused because of its present state; read the state before deciding."""

    code = "busy"


class Unsupported(DeviceError):
    """The device does not have this ability; not a failure and not `False`."""

    code = "unsupported"
    permanent = True


class WireError(MinewardenError):
    """A frame or message from another process cannot be used; it goes to quarantine with this text."""

    code = "wire"


class SecurityError(MinewardenError):
    """A signature, scope, expiry or counter was refused."""

    code = "security"


class ArtifactError(MinewardenError):
    """A model artefact cannot be used."""

    code = "artifact"


class StoreError(MinewardenError):
    """The local store refused; nothing was written."""

    code = "store"
    permanent = False
