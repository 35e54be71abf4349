"""The first certificate: a key is made here and stays here, a person confirms its fingerprint in the cloud.

An enrolment survives a power cut: the key lies in the identity folder until a certificate has come, and the
command run again goes on where it was, because the cloud knows the key by its fingerprint.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec

from edge_agent.agent.identity.cloud_desk import CloudAway, CloudDesk, Decision
from edge_agent.agent.identity.files import ENROL_KEY, NEXT_KEY, NEXT_PAIR, IdentityFiles
from edge_agent.agent.identity.pair import Pair, make_request, new_key, read_certificate, when
from shared.clock import Clock
from shared.errors import ConfigError, SecurityError
from shared.identity import fingerprint, key_bytes, site_name
from shared.ids import SiteId

POLL_S: Final = 5.0
CLOCK_OFF_MS: Final = 5 * 60_000
"""Further apart than this, certificates and signed orders would be refused: the clock comes first."""
Say = Callable[[str], None]


class OfflineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A request as a file for a person to carry; also what `POST /api/v1/enrolments` takes."""

    request_pem: str
    made_ms: int
    replace: bool = False


class OfflineAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What a person carries back."""

    certificate_pem: str
    ca_pem: str


class Enrolment:
    """One gateway's enrolment."""

    def __init__(self, site: SiteId, files: IdentityFiles, clock: Clock) -> None:
        """Raises `SecurityError` for a site id that no certificate may have."""
        self._site = site_name(site)
        self._files = files
        self._clock = clock

    @property
    def fingerprint(self) -> str:
        """What the person at the gateway reads out; makes the key where there is none yet."""
        return fingerprint(self._site, self._key().public_key())

    def refuse_if_enrolled(self, *, replace: bool) -> None:
        """Raise `SecurityError` where a good certificate is here already and nobody said `replace`."""
        if replace:
            return
        try:
            pair = self._files.pair()
        except SecurityError as error:
            raise SecurityError(f"{error}; move it away, or say --replace") from error
        if pair is None or pair.span.end_ms <= self._clock.utc_ms():
            return
        if pair.name != self._site:
            raise SecurityError(
                f"this gateway is enrolled as {pair.name!r}, but the site file's id is {self._site!r}. If "
                "the id was changed on purpose, say --replace; history of the old id stays with the old id"
            )
        raise SecurityError(
            f"this gateway is enrolled already: certificate {pair.serial}, valid until "
            f"{when(pair.span.end_ms)}, and it renews itself. To make a new key nevertheless, say --replace"
        )

    def offline_request(self, *, replace: bool) -> bytes:
        """The request as JSON for a file."""
        request = OfflineRequest(request_pem=self._request(), made_ms=self._clock.utc_ms(), replace=replace)
        return msgspec.json.encode(request)

    def accept(self, data: bytes) -> Pair:
        """Store what a person brought back; raises `SecurityError` for one that is not for this key."""
        try:
            answer = msgspec.json.decode(data, type=OfflineAnswer)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise SecurityError(
                "this is not the file that 'minewarden cloud enrolments certificate' writes"
            ) from error
        return self._store(answer.certificate_pem, answer.ca_pem)

    async def ask_and_wait(
        self, desk: CloudDesk, say: Say, *, replace: bool, wait_s: float, poll_s: float = POLL_S
    ) -> Pair | None:
        """Ask the cloud, wait for a person's word; None where nobody has decided after `wait_s`.

        Raises `SecurityError` where it is refused, `CloudAway` where the cloud cannot be asked at first.
        """
        decision = desk.ask(self._request(), self._clock.utc_ms(), replace=replace)
        self._check_clock(decision)
        say(f"request {decision.id} waits in the cloud for a person to confirm the fingerprint")
        until_s = self._clock.monotonic() + wait_s
        while True:
            if decision.state == "issued" and decision.certificate_pem is not None:
                return self._store(decision.certificate_pem, decision.ca_pem)
            if decision.state != "waiting":
                self._files.drop(ENROL_KEY)
                raise SecurityError(
                    f"the request is {decision.state}: {decision.reason or 'no reason given'}"
                )
            if self._clock.monotonic() >= until_s:
                return None
            await self._clock.sleep(poll_s)
            try:
                decision = desk.look(decision.id)
            except CloudAway as away:
                say(f"{away}; the request stays, trying again")

    def _check_clock(self, decision: Decision) -> None:
        off_ms = self._clock.utc_ms() - decision.now_ms
        if abs(off_ms) > CLOCK_OFF_MS:
            side = "ahead of" if off_ms > 0 else "behind"
            raise SecurityError(
                f"this gateway's clock is {abs(off_ms) // 60_000} minutes {side} the cloud's. Set it first "
                "('timedatectl' must say that it is synchronized): certificates and orders depend on it. The "
                "request stays; run the command again then"
            )

    def _key(self) -> ec.EllipticCurvePrivateKey:
        """The key of an open enrolment, or a fresh one; never the one that is certified already."""
        known, present = self._files.key(ENROL_KEY), self._present_key()
        if known is not None and key_bytes(known.public_key()) != present:
            return known
        key = new_key()
        self._files.keep_key(ENROL_KEY, key)
        return key

    def _present_key(self) -> bytes | None:
        try:
            pair = self._files.pair()
        except SecurityError:  # a damaged one certifies nothing
            return None
        return None if pair is None else key_bytes(pair.key.public_key())

    def _request(self) -> str:
        return make_request(self._site, self._key())

    def _store(self, certificate_pem: str, ca_pem: str) -> Pair:
        key = self._files.key(ENROL_KEY)
        if key is None:
            raise SecurityError("no enrolment is open here: run 'minewarden enroll' for a request first")
        pair = Pair(key, read_certificate(certificate_pem))
        pair.check(self._site, ca_pem, self._clock.utc_ms())
        self._files.adopt(pair, ca_pem)
        self._files.drop(ENROL_KEY, NEXT_KEY, NEXT_PAIR)
        return pair


def check_owner(state: Path, user: int) -> None:
    """Raise `ConfigError` where files made by this user could not be read by the agent."""
    owner = next((path for path in (state, *state.parents) if path.exists()), state).stat()
    if state.exists() and owner.st_uid != user:
        raise ConfigError(
            f"{state} belongs to user {owner.st_uid}, and you are user {user}: the agent could not read its "
            "own key. Run it as that user, e.g. 'runuser -u minewarden-agent -- minewarden enroll ...'"
        )
