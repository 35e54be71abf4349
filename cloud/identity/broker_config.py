"""Mosquitto's configuration for a fleet, written from one place so that broker, cloud and tests agree.

Two listeners, both TLS with client certificates:

* **sites** (8883): here the client id is the certificate's CN, whatever a client says. A site could otherwise
  connect with another site's client id and end that one's session. Third parties come in here too.
* **cloud** (8884, loopback unless told otherwise): the cloud's roles, which need several client ids each, and
  which may end a session by taking over its client id. Nobody else should be able to reach it.

There is no listener without certificates; the demo has a broker of its own.
"""

from pathlib import Path
from typing import Final

import msgspec

from cloud.identity.broker import ACL, CRL
from shared.errors import ConfigError

CONF: Final = "minewarden.conf"
_TEMPLATE: Final = """\
# Mosquitto for Minewarden. Written by 'minewarden cloud broker-config'; changes by hand are lost.
# Client certificates only; the certificate's CN is the user name, and a site's CN is its site id.

per_listener_settings false
allow_anonymous false
acl_file {rules}/{acl}
{pid}
# Sites and third parties. The client id is the CN too: nobody can take over another's session.
listener {site_port}{site_address}
{tls}
use_username_as_clientid true

# The cloud's own roles, with client ids of their own; not for the world.
listener {cloud_port}{cloud_address}
{tls}

# The broker keeps nothing that matters: the edge deletes a batch only after the cloud's own
# acknowledgement. These limits keep one slow consumer from filling the machine.
{persistence}
max_queued_messages 20000
max_queued_bytes 268435456
memory_limit 1073741824
max_packet_size 4500000
persistent_client_expiration 14d
max_keepalive 120

{log}
log_type error
log_type warning
log_type notice
log_type information
log_type subscribe
connection_messages true
"""
_TLS: Final = """\
cafile {keys}/ca.crt
certfile {keys}/broker.crt
keyfile {keys}/broker.key
crlfile {rules}/{crl}
tls_version tlsv1.2
require_certificate true
use_identity_as_username true"""


class BrokerPlan(msgspec.Struct, frozen=True, kw_only=True):
    """Where the broker listens and where its files lie (paths on the broker's machine)."""

    keys: Path = Path("/etc/mosquitto/minewarden")
    """`ca.crt`, `broker.crt`, `broker.key`; the key readable by mosquitto's user only."""
    rules: Path = Path("/var/lib/minewarden/broker")
    """`identity.broker_dir` of the cloud: `acl` and `crl.pem`."""
    site_port: int = 8883
    site_address: str = ""
    """Empty: all addresses."""
    cloud_port: int = 8884
    cloud_address: str = "127.0.0.1"
    persistence: Path | None = Path("/var/lib/mosquitto")
    """None: nothing is kept over a restart."""
    pid_file: Path | None = None
    log: Path | None = None
    """`identity.broker_log` of the cloud, which reads and empties it; None: the log goes to standard error
    and what is denied does not stand in it."""


def mosquitto_conf(plan: BrokerPlan) -> str:
    """The configuration file; raises `ConfigError` for a plan that cannot work."""
    if plan.site_port == plan.cloud_port:
        raise ConfigError(
            "sites and cloud need two ports: only on the cloud's may client ids be chosen freely"
        )
    for path in (plan.keys, plan.rules, *([] if plan.log is None else [plan.log])):
        if any(sign.isspace() for sign in str(path)) or not path.is_absolute():
            raise ConfigError(f"{path}: mosquitto needs an absolute path without blanks")
    keeps = plan.persistence
    return _TEMPLATE.format(
        tls=_TLS.format(keys=plan.keys, rules=plan.rules, crl=CRL),
        rules=plan.rules,
        acl=ACL,
        pid="" if plan.pid_file is None else f"pid_file {plan.pid_file}\n",
        log="log_dest stderr" if plan.log is None else f"log_dest file {plan.log}\nlog_type debug",
        site_port=plan.site_port,
        site_address=_address(plan.site_address),
        cloud_port=plan.cloud_port,
        cloud_address=_address(plan.cloud_address),
        persistence="persistence false"
        if keeps is None
        else f"persistence true\npersistence_location {keeps}/",
    )


def _address(text: str) -> str:
    return f" {text}" if text else ""
