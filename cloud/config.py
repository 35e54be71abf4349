"""The cloud's configuration: one TOML file, loaded whole or not at all; unknown keys are refused.

::

    data_dir = "data"                      # model files, data sets, the SQLite file
    token_file = "api.token"               # bearer token that every write needs; at least 20 characters
    http_host = "127.0.0.1"
    http_port = 8480
    # database_url = "postgresql+asyncpg://minewarden@127.0.0.1/minewarden"
    # ingest_workers = 2                   # PostgreSQL only; each further one is `minewarden cloud ingest`

    [broker]
    host = "127.0.0.1"
    port = 1883

    [keys]
    command_key = "keys/command.key"
    assignment_key = "keys/assignment.key"
    release_key = "keys/release.key"       # only with online_blessing = true
    online_blessing = true

    [identity]                             # only where this cloud issues certificates
    ca_cert = "ca/ca.crt"                  # `minewarden cloud ca init` makes both
    ca_key = "ca/ca.key"
    broker_dir = "broker"                  # acl and crl.pem for mosquitto are written here
    # broker_log = "/run/brokerlog/mosquitto.log"  # mosquitto's log, to count what it refuses

    [training]
    threads = 1

    [retention]                            # days; one row per device and hour stays for ever
    raw_days = 30
    rows_days = 365
    # cold = "cold"                        # folder or fsspec URL for expired days as Parquet

    [[people]]                             # one each: what takes two persons then takes two tokens
    name = "Ada"
    token_file = "people/ada.token"

Relative paths start at the file's own folder. The file names secret files, it never holds secrets.
"""

import ipaddress
import tomllib
from pathlib import Path
from typing import TypeVar

import msgspec

from shared.errors import ConfigError

MIN_TOKEN_CHARACTERS = 20

SettingsT = TypeVar("SettingsT", "PersonSettings", "BrokerSettings", "KeySettings", "IdentitySettings")


class _Strict(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Unknown keys are refused everywhere in the file."""


class BrokerSettings(_Strict, frozen=True, kw_only=True):
    """How the MQTT broker is reached; ingest and command are two clients with a role each.

    A broker that takes its user names from certificates (packaging/broker) needs one certificate per role:
    `cert_file` with the CN `minewarden-ingest`, `command_cert_file` with `minewarden-command`. Without a
    command login of its own the command client uses ingest's. A broker that is not on loopback needs
    `ca_file`: telemetry and commands do not cross a network in the clear.
    """

    host: str
    port: int
    username: str | None = None
    password_file: str | None = None
    command_username: str | None = None
    command_password_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    command_cert_file: str | None = None
    command_key_file: str | None = None
    keep_alive_s: int = 20
    client_id: str = "minewarden-cloud"
    """Stem of the client ids; two clouds on one broker need two stems."""


class KeySettings(_Strict, frozen=True, kw_only=True):
    """Signing keys, as files made by `minewarden keys new`.

    A release key on this machine is used only where `online_blessing` says so by name; otherwise models
    are blessed elsewhere.
    """

    command_key: str
    assignment_key: str
    release_key: str | None = None
    online_blessing: bool = False


class IdentitySettings(_Strict, frozen=True, kw_only=True):
    """The certificate authority, and how the broker learns who may speak.

    `ca_key` may be a systemd credential (`LoadCredential`). After a change of `acl` or `crl.pem` in
    `broker_dir` mosquitto must read its files again: by `SIGHUP` to the process in `broker_pid_file`, by the
    command `broker_reload`, or, where neither is set, by whoever watches the folder (packaging/systemd has a
    path unit for it).
    """

    ca_cert: str
    ca_key: str
    broker_dir: str
    broker_pid_file: str | None = None
    broker_reload: tuple[str, ...] = ()
    broker_log: str | None = None
    """Where mosquitto logs what it refuses, on a small memory file system that both may write
    (docs/install.md); without it, what is tried on topics of others is counted nowhere."""
    site_days: int = 90
    """Life of a site's certificate; the site renews it when a third is left."""
    role_days: int = 365
    """Life of certificates for the broker, the cloud's own roles and third parties."""


class PersonSettings(_Strict, frozen=True, kw_only=True):
    """A person with a write token of their own: what takes two persons then takes two tokens."""

    name: str
    token_file: str


class RetentionSettings(_Strict, frozen=True, kw_only=True):
    """How long telemetry stays, in days; one row per device and hour stays for ever."""

    raw_days: float = 30.0
    """Windows of raw samples."""
    rows_days: float = 365.0
    """Rows as the sites sent them, and what devices remember."""
    cold: str | None = None
    """Folder, or URL that fsspec knows, where expired days are kept as Parquet; without it they are deleted.
    Needs the extra `cold`."""


class TrainingSettings(_Strict, frozen=True, kw_only=True):
    """Limits of the training child process."""

    timeout_s: float = 1800.0
    threads: int = 1
    algorithms: tuple[str, ...] = ()
    """What is trained where a request names nothing; empty = whatever is installed."""
    model_life_days: float = 365.0
    """How long a blessed manifest is valid."""
    assignment_life_days: float = 90.0


class _File(_Strict, frozen=True, kw_only=True):
    token_file: str
    broker: BrokerSettings
    keys: KeySettings
    data_dir: str = "data"
    database_url: str | None = None
    database_password_file: str | None = None
    http_host: str = "127.0.0.1"
    http_port: int = 8480
    allowed_hosts: tuple[str, ...] = ()
    training: TrainingSettings = TrainingSettings()
    retention: RetentionSettings = RetentionSettings()
    ingest_workers: int = 1
    identity: IdentitySettings | None = None
    people: tuple[PersonSettings, ...] = ()


class CloudConfig(msgspec.Struct, frozen=True, kw_only=True):
    """The file after its checks, with absolute paths."""

    path: Path
    data_dir: Path
    database_url: str
    database_password_file: Path | None
    token_file: Path
    http_host: str
    http_port: int
    allowed_hosts: tuple[str, ...]
    """Host names accepted in requests besides loopback's (a reverse proxy's name)."""
    broker: BrokerSettings
    keys: KeySettings
    training: TrainingSettings
    retention: RetentionSettings
    ingest_workers: int
    """How many processes share the telemetry: `minewarden cloud run` and, for 2 and up, `cloud ingest`."""
    identity: IdentitySettings | None
    people: tuple[PersonSettings, ...] = ()

    def token(self) -> str:
        """The bearer token for writes; raises `ConfigError` where it is missing or short."""
        return _token(self.token_file)

    def people_tokens(self) -> dict[str, str]:
        """Each person's own token; raises `ConfigError` where one is missing, short or not theirs alone."""
        tokens = {person.name: _token(Path(person.token_file)) for person in self.people}
        if len({self.token(), *tokens.values()}) <= len(self.people):
            raise ConfigError(
                f"{self.path}: [[people]]: two persons (or a person and token_file) share a token"
            )
        return tokens


def _token(path: Path) -> str:
    text = read_secret(path, "token_file")
    if len(text) < MIN_TOKEN_CHARACTERS:
        raise ConfigError(
            f"{path}: the token has {len(text)} characters, at least {MIN_TOKEN_CHARACTERS} are needed"
        )
    return text


def load(path: Path) -> CloudConfig:
    """Read and check the file; raises `ConfigError` naming file, key and what is expected."""
    try:
        tree = tomllib.loads(path.read_text())
        file = msgspec.convert(tree, _File)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    except msgspec.ValidationError as error:
        raise ConfigError(f"{path}: {error}") from error
    base = path.resolve().parent
    data_dir = base / file.data_dir
    _check(path, file)
    return CloudConfig(
        path=path,
        data_dir=data_dir,
        database_url=_database_url(path, file.database_url, data_dir),
        database_password_file=_optional(base, file.database_password_file),
        token_file=base / file.token_file,
        http_host=file.http_host,
        http_port=file.http_port,
        allowed_hosts=file.allowed_hosts,
        broker=_absolute(
            base,
            file.broker,
            "password_file",
            "command_password_file",
            "ca_file",
            "cert_file",
            "key_file",
            "command_cert_file",
            "command_key_file",
        ),
        keys=_absolute(base, file.keys, "command_key", "assignment_key", "release_key"),
        training=file.training,
        retention=_retention(base, file.retention),
        ingest_workers=file.ingest_workers,
        identity=_identity(path, base, file.identity),
        people=tuple(_absolute(base, person, "token_file") for person in file.people),
    )


def read_secret(path: Path, key: str) -> str:
    """A secret from its own file, without the trailing newline; raises `ConfigError`."""
    try:
        text = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: {key} cannot be read: {error}") from error
    if not text:
        raise ConfigError(f"{path}: {key} is empty")
    return text


def _check(path: Path, file: _File) -> None:
    names = ["".join(filter(str.isalnum, person.name.casefold())) for person in file.people]
    if "" in names or len(set(names)) < len(names):
        raise ConfigError(f"{path}: [[people]]: each person needs a name that is no other's")
    if not _is_loopback(file.http_host):
        raise ConfigError(
            f"{path}: http_host {file.http_host!r} is not a loopback address; until people and roles exist "
            "the API listens on loopback only (put a reverse proxy with a login in front, see allowed_hosts)"
        )
    for key, port in (("http_port", file.http_port), ("broker.port", file.broker.port)):
        if not 0 <= port <= 65_535:
            raise ConfigError(f"{path}: {key} {port} is not a port (0 to 65535)")
    if not _is_loopback(file.broker.host) and file.broker.ca_file is None:
        raise ConfigError(
            f"{path}: broker.host {file.broker.host!r} is not on loopback, so broker.ca_file is needed (TLS)"
        )
    if file.keys.online_blessing and file.keys.release_key is None:
        raise ConfigError(f"{path}: keys.online_blessing needs keys.release_key")
    if file.keys.release_key is not None and not file.keys.online_blessing:
        raise ConfigError(
            f"{path}: keys.release_key is set but keys.online_blessing is not true; a release key belongs "
            "offline unless that is said by name"
        )
    if not 1 <= file.ingest_workers <= 32:
        raise ConfigError(f"{path}: ingest_workers {file.ingest_workers} is not in 1..32")
    if file.retention.raw_days <= 0 or file.retention.rows_days < 2:
        raise ConfigError(f"{path}: retention.raw_days must be above 0 and rows_days at least 2")
    if file.training.timeout_s <= 0 or file.training.threads < 1:
        raise ConfigError(f"{path}: training.timeout_s must be above 0 and training.threads at least 1")
    if file.training.model_life_days <= 0 or file.training.assignment_life_days <= 0:
        raise ConfigError(f"{path}: training.model_life_days and assignment_life_days must be above 0")


def _identity(path: Path, base: Path, settings: IdentitySettings | None) -> IdentitySettings | None:
    if settings is None:
        return None
    if settings.broker_pid_file is not None and settings.broker_reload:
        raise ConfigError(f"{path}: identity.broker_pid_file and identity.broker_reload: set one of them")
    for key, days in (("site_days", settings.site_days), ("role_days", settings.role_days)):
        if not 1 <= days <= 825:
            raise ConfigError(f"{path}: identity.{key} must be 1 to 825 days, not {days}")
    return _absolute(base, settings, "ca_cert", "ca_key", "broker_dir", "broker_pid_file", "broker_log")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _database_url(path: Path, url: str | None, data_dir: Path) -> str:
    if url is None:
        return f"sqlite+aiosqlite:///{data_dir / 'cloud.db'}"
    scheme, separator, rest = url.partition("://")
    if scheme in ("postgresql", "postgres"):
        return f"postgresql+asyncpg{separator}{rest}"
    if scheme == "sqlite+aiosqlite" and rest.startswith("/") and rest != "/:memory:":
        # A relative SQLite path would depend on where the process was started.
        return url if rest.startswith("//") else f"{scheme}:///{path.resolve().parent / rest[1:]}"
    if scheme != "postgresql+asyncpg":
        raise ConfigError(
            f"{path}: database_url must start with postgresql:// or be sqlite+aiosqlite:///<file>"
        )
    return url


def _retention(base: Path, settings: RetentionSettings) -> RetentionSettings:
    """With an absolute folder; a URL is left as it is."""
    if settings.cold is None or "://" in settings.cold:
        return settings
    return msgspec.structs.replace(settings, cold=str(base / settings.cold))


def _optional(base: Path, text: str | None) -> Path | None:
    return None if text is None else base / text


def _absolute(base: Path, settings: SettingsT, *keys: str) -> SettingsT:
    changes = {key: str(base / value) for key in keys if (value := getattr(settings, key)) is not None}
    return msgspec.structs.replace(settings, **changes)
