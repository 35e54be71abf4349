"""The signing keys that this process may use."""

from pathlib import Path

import msgspec

from cloud.config import KeySettings
from shared.artifacts.signing import SigningKey


class Keys(msgspec.Struct, frozen=True, kw_only=True):
    """`release` is there only where the configuration allows online blessing by name."""

    command: SigningKey
    assignment: SigningKey
    release: SigningKey | None = None

    @classmethod
    def load(cls, settings: KeySettings) -> "Keys":
        """Read the key files; raises `ConfigError`."""
        release = settings.release_key if settings.online_blessing else None
        return cls(
            command=SigningKey.load(Path(settings.command_key)),
            assignment=SigningKey.load(Path(settings.assignment_key)),
            release=SigningKey.load(Path(release)) if release is not None else None,
        )
