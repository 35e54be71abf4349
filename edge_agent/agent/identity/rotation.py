"""Renews the site's certificate over the connection that the present one opened.

When a third of its life is left: a new key, a request that the present key vouches for, the answer, a trial
at the broker, one rename. Each step is found again after a kill, and until the rename the old pair counts.

A renewal never changes whom we trust: the new certificate must come from an authority in the present
`ca.pem`. The message travels through the broker, and a broker must not be able to bring its own authority.
"""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from edge_agent.agent.events import event
from edge_agent.agent.identity.files import CA, NEXT_KEY, NEXT_PAIR, PAIR, IdentityFiles
from edge_agent.agent.identity.pair import Pair, make_request, new_key, read_certificate, when
from edge_agent.agent.identity.trial import Trial
from edge_agent.agent.service import Service, log
from shared.alarms import Event, EventKind, Severity
from shared.clock import Clock
from shared.errors import ConfigError, SecurityError
from shared.identity import prove
from shared.ids import SiteId
from shared.wire.envelope import Certificate, CertificateRequest

RENEW_SHARE: Final = 1 / 3
ALARM_SHARE: Final = 1 / 6
CHECK_S: Final = 60.0
RESEND_S: Final = 600.0
REFUSED_S: Final = 3600.0
"""Wait after the broker refused a new pair: something is wrong that a minute does not mend."""
ALARM_KEY: Final = "certificate-ending"

Ask = Callable[[CertificateRequest], bool]
Try = Callable[[Path], Awaitable[tuple[Trial, str]]]
Tell = Callable[[Event], Awaitable[None]]


class Rotation(Service):
    """One check a minute; wakes early when the answer comes."""

    name = "identity"
    stall_s = 600.0

    def __init__(
        self, clock: Clock, site: SiteId, files: IdentityFiles, *, ask: Ask, try_pair: Try, tell: Tell
    ) -> None:
        super().__init__(clock)
        self._site = site
        self._files = files
        self._ask = ask
        self._try = try_pair
        self._tell = tell
        self._answers: list[Certificate] = []
        self._wake = asyncio.Event()
        self._not_before_s = 0.0
        self._alarmed = False
        self.trouble = ""
        """Why the certificate is not renewed; empty while all is well."""

    async def take(self, certificate: Certificate) -> None:
        """The cloud's answer; looked at by `run`, so that acks do not wait behind a disk."""
        self._answers = [certificate]  # only the newest can be for the key that waits
        self._wake.set()

    async def run(self) -> None:
        while True:
            self.tick()
            await self.step()
            nap = asyncio.ensure_future(self.clock.sleep(CHECK_S))
            news = asyncio.ensure_future(self._wake.wait())
            try:
                await asyncio.wait({nap, news}, return_when=asyncio.FIRST_COMPLETED)
            finally:
                nap.cancel()
                news.cancel()

    async def step(self) -> None:
        """Do what is next; a trouble is kept and told once."""
        self._wake.clear()
        answers, self._answers = self._answers, []
        try:
            present = self._present()
            for answer in answers:
                self._keep(answer)
            await self._advance(present)
            await self._watch_end(self._present())
        except (SecurityError, ConfigError) as error:
            self._complain(str(error))

    def _present(self) -> Pair:
        present = self._files.pair()
        if present is None:
            raise SecurityError("this site has no certificate; run 'minewarden enroll'")
        return present

    async def _advance(self, present: Pair) -> None:
        renewed = self._files.pair(NEXT_PAIR)
        if renewed is not None:
            await self._adopt(present, renewed)
        elif present.span.left_share(self.clock.utc_ms()) <= RENEW_SHARE:
            self._request(present)

    def _request(self, present: Pair) -> None:
        """Ask, with the key of an earlier try where there is one; the cloud gives that the same answer."""
        if self.clock.monotonic() < self._not_before_s:
            return
        key = self._files.key(NEXT_KEY)
        if key is None:
            key = new_key()
            self._files.keep_key(NEXT_KEY, key)
        pem = make_request(self._site, key)
        if self._ask(CertificateRequest(request_pem=pem, proof=prove(pem, present.key))):
            self._not_before_s = self.clock.monotonic() + RESEND_S
            log.info("asked for the next certificate; the present one ends %s", when(present.span.end_ms))

    def _keep(self, answer: Certificate) -> None:
        """Keep the pair that the answer completes; raises `SecurityError` for one that is not for us."""
        key = self._files.key(NEXT_KEY)
        if key is None:
            log.info("a certificate came that nobody waits for; the cloud repeated itself")
            return
        pair = Pair(key, read_certificate(answer.certificate_pem))
        pair.check(self._site, self._files.text(CA) or "", self.clock.utc_ms())
        self._files.write(NEXT_PAIR, pair.pem())

    async def _adopt(self, present: Pair, renewed: Pair) -> None:
        if renewed.serial != present.serial:
            try:
                renewed.check(self._site, self._files.text(CA) or "", self.clock.utc_ms())
            except SecurityError:
                self._files.drop(NEXT_KEY, NEXT_PAIR)  # the gateway was off for long; begin anew
                raise
            word, sentence = await self._try(self._files.folder / NEXT_PAIR)
            if word is Trial.REFUSED:
                self._files.drop(NEXT_PAIR)
                self._not_before_s = self.clock.monotonic() + REFUSED_S
            if word is not Trial.TAKEN:
                raise SecurityError(f"the old certificate stays: {sentence}")
            self._files.write(PAIR, renewed.pem())
            log.info("certificate renewed, serial %s, ends %s", renewed.serial, when(renewed.span.end_ms))
        # The key first: it is the present one now, and a kill in between must not offer it as the next.
        self._files.drop(NEXT_KEY, NEXT_PAIR)
        self._not_before_s = 0.0
        self.trouble = ""
        await self._clear()

    async def _watch_end(self, present: Pair) -> None:
        """A person hears of it while there is time to do something."""
        now_ms = self.clock.utc_ms()
        span = present.span
        if self._alarmed or span.left_share(now_ms) > ALARM_SHARE:
            return
        self._alarmed = True
        await self._tell(
            event(
                EventKind.ALARM,
                ALARM_KEY,
                f"The site's certificate ends {when(span.end_ms)} and could not be renewed",
                at_ms=now_ms,
                severity=Severity.HIGH,
                advice="Look at the cloud's list of certificates. If it was revoked or has ended, run "
                "'minewarden enroll --replace' on the gateway; until then nothing is sent, and all is kept.",
                data={"serial": present.serial, "ends_ms": span.end_ms, "why": self.trouble or None},
            )
        )

    async def _clear(self) -> None:
        if not self._alarmed:
            return
        self._alarmed = False
        await self._tell(
            event(
                EventKind.ALARM_CLEARED,
                ALARM_KEY,
                "The site's certificate was renewed",
                at_ms=self.clock.utc_ms(),
            )
        )

    def _complain(self, trouble: str) -> None:
        """Once per trouble, not once a minute."""
        if trouble != self.trouble:
            log.warning("certificate: %s", trouble)
            self.trouble = trouble
