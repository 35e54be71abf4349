"""Which model this site accepts proposals from: verified assignments, kept over restarts.

The guardian never sees a model. It checks both signatures, refuses old counters, and remembers which name,
version and hash may speak; the bounds of the arbiter are the protection.
"""

import hashlib
import logging
from pathlib import Path

import msgspec

from edge_agent.guardian.interlocks.inputs import ModelClaim
from edge_agent.guardian.storage import durable
from shared.artifacts.manifest import Manifest, Stage, Verified, verify_assignment
from shared.artifacts.signing import Keyring, Signed
from shared.clock import Clock
from shared.commands import ModelRef
from shared.errors import SecurityError, StoreError
from shared.ids import SiteId

log = logging.getLogger(__name__)

KEEP = 4
"""Accepted assignments that may be claimed again: active, candidate, previous and one more."""


class _Kept(msgspec.Struct, frozen=True, kw_only=True):
    counter: int = 0
    accepted: tuple[tuple[str, str], ...] = ()
    """SHA-256 of (payload, model file) accepted last, newest last; one payload per model, the newest."""
    until_ms: int = 0
    """The latest end of all that were ever accepted in time."""


class Assignments:
    """The site's accepted model assignments and what the agent claims to run."""

    def __init__(self, path: Path, keyring: Keyring, site: SiteId, clock: Clock) -> None:
        self._path = path
        self._keyring = keyring
        self._site = site
        self._clock = clock
        self._kept = self._load()
        self.active: ModelRef | None = None
        self.candidate: ModelRef | None = None
        self._papers: dict[ModelRef, Signed] = {}
        """Of the two above: what let them in, to look at again when keys change."""

    def _load(self) -> _Kept:
        try:
            return durable.unseal(self._path.read_bytes(), _Kept)
        except FileNotFoundError:
            return _Kept()
        except StoreError as error:
            raise StoreError(f"{self._path}: {error}; restore it, or remove it and assign again") from error

    @property
    def claim(self) -> ModelClaim:
        """How far models may go right now."""
        if self.active is not None:
            return ModelClaim.ACTIVE
        return ModelClaim.SHADOW if self.candidate is not None else ModelClaim.NONE

    @property
    def words(self) -> str | None:
        """`name v7 active`, for status pages."""
        parts = [
            f"{model.name} v{model.version} {stage}"
            for model, stage in ((self.active, "active"), (self.candidate, "shadow"))
            if model is not None
        ]
        return ", ".join(parts) or None

    def accept(self, signed: Signed, *, swapped: bool) -> str:
        """Verify and take over an assignment; returns what changed. Raises `SecurityError`."""
        verified = verify_assignment(
            signed,
            self._keyring,
            site=self._site,
            now_ms=self._clock.utc_ms(),
            until_ms=self._kept.until_ms if self._is_known(signed) else 0,
        )
        self._remember(signed, verified)
        model = _ref(verified.manifest)
        self._papers = {known: paper for known, paper in self._papers.items() if self._claimed(known)}
        self._papers[model] = signed
        stage = verified.assignment.stage
        if stage is Stage.WITHDRAWN:
            return self._withdraw(model)
        if not swapped:
            if model == self.active and stage is Stage.SHADOW:
                self.active = None  # demoted by the cloud, whatever the agent does about it
            if model != self.active:
                self.candidate = model
            return f"{model.name} v{model.version} is assigned ({stage})"
        if stage is not Stage.ACTIVE:
            raise SecurityError(f"{model.name} v{model.version} is assigned for {stage}, it must not act")
        self.active = model
        if self.candidate == model:
            self.candidate = None
        return f"{model.name} v{model.version} acts now"

    def _claimed(self, model: ModelRef) -> bool:
        return model in (self.active, self.candidate)

    def recheck(self) -> str:
        """Let go of models whose keys do not count any more; says which, or nothing."""
        gone = []
        for model, signed in list(self._papers.items()):
            if not self._claimed(model):
                continue
            try:
                verify_assignment(signed, self._keyring, site=self._site, now_ms=0)
            except SecurityError as error:
                self._withdraw(model)
                gone.append(f"{model.name} v{model.version} lost its say: {error}")
        return "; ".join(gone)

    def _withdraw(self, model: ModelRef) -> str:
        if self.active == model:
            self.active = None
        if self.candidate == model:
            self.candidate = None
        return f"{model.name} v{model.version} is withdrawn"

    def drop(self) -> str:
        """The agent stopped trusting its model: nobody acts until it claims one again."""
        was = self.words or "no model"
        self.active = None
        return f"agent let go of its model ({was})"

    def _is_known(self, signed: Signed) -> bool:
        """Whether it was accepted in time before: the agent goes back to the model."""
        sha256 = _sha256(signed)
        return any(payload == sha256 for payload, _ in self._kept.accepted)

    def _remember(self, signed: Signed, verified: Verified) -> None:
        sha256, model = _sha256(signed), verified.manifest.sha256
        if (sha256, model) in self._kept.accepted:
            return  # the agent connects again, swaps, or goes back to the previous one
        counter = verified.assignment.counter
        if counter <= self._kept.counter:
            raise SecurityError(f"assignment counter {counter} is old (last {self._kept.counter})")
        # What an older assignment allowed this model does not count any more: it may be withdrawn now.
        others = tuple(entry for entry in self._kept.accepted if entry[1] != model)
        kept = _Kept(
            counter=counter,
            accepted=(*others, (sha256, model))[-KEEP:],
            until_ms=max(self._kept.until_ms, verified.assignment.expires_ms),
        )
        try:
            durable.replace(self._path, durable.seal(kept))
        except StoreError as error:
            raise SecurityError(f"assignment counter cannot be stored: {error}") from error
        self._kept = kept


def _sha256(signed: Signed) -> str:
    return hashlib.sha256(signed.payload).hexdigest()


def _ref(manifest: Manifest) -> ModelRef:
    return ModelRef(name=manifest.name, version=manifest.version, sha256=manifest.sha256)
