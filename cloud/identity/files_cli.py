"""What `minewarden cloud ca` and `broker-config` do: files only, no cloud needs to run."""

import argparse
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec

from cloud.config import CloudConfig, IdentitySettings
from cloud.identity import service
from cloud.identity.authority import Authority, read_key, write_key
from cloud.identity.broker import ACL, CRL, replace_file
from cloud.identity.broker_config import CONF, BrokerPlan, mosquitto_conf
from cloud.identity.broker_rules import acl
from cloud.kit.database import Database
from cloud.migrations import runner
from shared.clock import Clock
from shared.errors import ConfigError


def _settings(config: CloudConfig) -> IdentitySettings:
    if config.identity is None:
        raise ConfigError(
            f"{config.path}: there is no [identity]; add ca_cert, ca_key and broker_dir (docs/install.md)"
        )
    return config.identity


def init(config: CloudConfig, clock: Clock) -> int:
    """Make the authority; raises `ConfigError` where there is one."""
    settings = _settings(config)
    if Path(settings.ca_cert).exists():
        raise ConfigError(f"{settings.ca_cert} exists; an authority is never overwritten, move it away first")
    made = Authority.create("Minewarden CA", clock.utc_ms())
    made.save(Path(settings.ca_cert), Path(settings.ca_key))
    print(f"{settings.ca_key}: the authority's key; keep a copy offline, and let nobody else read it")
    print(f"{settings.ca_cert}: fingerprint {made.fingerprint}")
    return 0


async def issue(config: CloudConfig, given: argparse.Namespace, database: Database, clock: Clock) -> int:
    """A certificate for a role; the same key again where its file is there already. Closes the database."""
    try:
        settings = _settings(config)
        authority = Authority.load(Path(settings.ca_cert), Path(settings.ca_key))
        if (given.role == "broker") != bool(given.host):
            raise ConfigError("--host is needed for the broker, and for nobody else")
        key_file = given.out / f"{given.role}.key"
        key = read_key(key_file) if key_file.exists() else _fresh_key(key_file)
        await runner.upgrade(database)
        async with database.write() as session:
            row = await service.issue_role(
                session,
                authority,
                given.role,
                key.public_key(),
                clock.utc_ms(),
                days=settings.role_days,
                hosts=given.host,
            )
        replace_file(given.out / f"{given.role}.crt", row.pem)
        replace_file(given.out / "ca.crt", authority.pem)
    finally:
        await database.close()
    print(f"{given.out / given.role}.crt: serial {row.serial}, CN {row.name}, {settings.role_days} days")
    return 0


def _fresh_key(file: Path) -> ec.EllipticCurvePrivateKey:
    key = ec.generate_private_key(ec.SECP256R1())
    write_key(file, key)
    return key


def broker_config(config: CloudConfig, given: argparse.Namespace, clock: Clock) -> int:
    """Write mosquitto's configuration, and first rules where there are none yet."""
    settings = _settings(config)
    plan = BrokerPlan(
        keys=given.keys,
        rules=Path(settings.broker_dir),
        site_port=given.port,
        site_address=given.address,
        cloud_port=given.cloud_port,
        cloud_address=given.cloud_address,
        persistence=None if given.no_persistence else BrokerPlan().persistence,
        pid_file=given.pid_file,
        log=None if settings.broker_log is None else Path(settings.broker_log),
    )
    given.out.mkdir(parents=True, exist_ok=True)
    replace_file(given.out / CONF, mosquitto_conf(plan))
    rules = Path(settings.broker_dir)
    rules.mkdir(parents=True, exist_ok=True)
    if not (rules / ACL).exists():  # mosquitto does not start without them; the running cloud keeps them
        authority = Authority.load(Path(settings.ca_cert), Path(settings.ca_key))
        replace_file(rules / CRL, authority.revocations([], clock.utc_ms()))
        replace_file(rules / ACL, acl([], {}))
    print(
        f"{given.out / CONF}: mosquitto's whole configuration, for {given.keys / CONF}; not for conf.d "
        f"(docs/install.md). {rules}/{ACL} and {CRL} are kept by the cloud"
    )
    return 0
