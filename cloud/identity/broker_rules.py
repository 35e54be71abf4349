"""Who may say what at the broker, as mosquitto's ACL. Pure.

Each site has lines of its own instead of one pattern for all: a site whose certificate was revoked has no
line, which cuts a live session too. Mosquitto 2.0.11 applies a reloaded ACL to live sessions, both to what
they publish and to what is delivered to them (tests/integration/identity).
"""

from collections.abc import Iterable, Mapping, Sequence

from cloud.tables import CertificateRow
from shared.ids import SiteId
from shared.wire.rights import control_rights

_INGEST = """\
user minewarden-ingest
topic read mw/1/+/up/#
topic write mw/1/+/dn/ack
"""
_COMMAND = """\
user minewarden-command
topic write mw/1/+/dn/cmd
topic write mw/1/+/dn/plan
topic write mw/1/+/dn/model
topic write mw/1/+/dn/want
topic write mw/1/+/dn/cert
topic write mw/1/+/dn/keys
topic write mw/1/+/dn/blob/#
"""
_HEAD = """\
# Written by the Minewarden cloud; changes by hand are lost. The user name is the certificate's CN.
# Who is not named here may do nothing. The cloud has one role per duty; neither can do the other's.
"""


def acl(sites: Iterable[str], third_parties: Mapping[str, Sequence[str]]) -> str:
    """The whole file, for these sites and for third parties (CN → sites that it may command, `*` is all)."""
    parts = [_HEAD, _INGEST, _COMMAND]
    parts += [_site(site) for site in sorted(sites)]
    parts += [_third_party(name, third_parties[name]) for name in sorted(third_parties)]
    return "\n".join(parts)


def acl_of(live: Sequence[CertificateRow]) -> str:
    """The file for whoever has one of these live certificates."""
    parties: dict[str, list[str]] = {}
    for row in live:
        if row.role == "control":
            parties.setdefault(row.name, []).extend(row.sites)
    return acl({row.name for row in live if row.role == "site"}, parties)


def _site(site: str) -> str:
    return f"user {site}\ntopic write mw/1/{site}/up/#\ntopic read mw/1/{site}/dn/#\n"


def _third_party(name: str, sites: Sequence[str]) -> str:
    lines = [f"user {name}"]
    for site in ["+"] if "*" in sites else sorted(set(sites)):
        lines += [f"topic {verb} {topic}" for verb, topic in control_rights(SiteId(site))]
    return "\n".join(lines) + "\n"
