"""What a committed transaction changed, as names only; the live hub reads the rest from the database."""

from shared.ids import SiteId


class Changes:
    """Names of what to show anew. Mutable: one per transaction, merged by the hub."""

    def __init__(self) -> None:
        self.sites: set[SiteId] = set()
        self.devices: set[SiteId] = set()
        self.alarms: set[str] = set()
        self.events: set[tuple[SiteId, str]] = set()
        self.models: set[tuple[str, int]] = set()
        self.rollouts: set[SiteId] = set()
        self.commands: set[str] = set()

    def merge(self, other: "Changes") -> None:
        """Add what `other` names."""
        for name, names in vars(other).items():
            getattr(self, name).update(names)

    def __bool__(self) -> bool:
        return any(vars(self).values())
