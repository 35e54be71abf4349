"""What a broker has to let a third party with a `control` key do: nothing but send commands and hear results.

The signature decides what acts; these rights only keep a stranger's noise off the site's other topics. Pure;
whoever writes a broker's configuration (packaging/broker) turns each pair into a line of its own language.
"""

from shared.ids import CommandId, SiteId
from shared.wire import topics


def control_rights(site: SiteId) -> tuple[tuple[str, str], ...]:
    """(`write` or `read`, topic filter) pairs of one third party on one site."""
    return (
        ("write", topics.command(site)),
        ("read", topics.result(site, CommandId("#"))),
    )
