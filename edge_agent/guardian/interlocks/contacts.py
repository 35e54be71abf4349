"""Contacts of a zone: emergency stop, smoke, water on the floor, a door. All of one kind, told apart by data.

A contact acts once it was active for `on_delay_s`. One that is not known any more keeps whatever it was last
seen to be, and does what `on_unknown` says on top: an inhibit at once, an alarm or a trip after
`stale_after_s` more. A trip for want of a contact needs one that was heard since the guardian started.
"""

from collections.abc import Mapping

import msgspec

from edge_agent.config import Contact, Effect, Timing
from edge_agent.guardian.interlocks.inputs import ContactInput


class ContactTrack(msgspec.Struct, frozen=True):
    """State of one contact, times in s."""

    active: bool | None = None
    """What it reads now; None where that is not known."""
    active_for_s: float = 0.0
    unknown_for_s: float = 0.0
    acting: bool = False
    """Active for long enough, and not seen inactive since."""
    missed: bool = False
    """Unknown for long enough to be told."""
    heard: bool = False


UNHEARD = ContactTrack()

Tracks = dict[str, ContactTrack]


def interlock(name: str) -> str:
    """The name of a contact's interlock in trips, levels and bypasses."""
    return f"contact/{name}"


def step(
    tracks: Mapping[str, ContactTrack],
    told: tuple[ContactInput, ...],
    contacts: tuple[Contact, ...],
    timing: Timing,
    dt: float,
) -> Tracks:
    """All contacts of the site file after `dt` seconds; one that the input does not tell is unknown."""
    now = {contact.name: contact for contact in told}
    return {
        contact.name: _stepped(
            tracks.get(contact.name, UNHEARD), now.get(contact.name), contact.on_delay_s, timing, dt
        )
        for contact in contacts
    }


def _stepped(
    track: ContactTrack, told: ContactInput | None, on_delay_s: float, timing: Timing, dt: float
) -> ContactTrack:
    if told is None or told.active is None:
        unknown_s = min(track.unknown_for_s + dt, timing.stale_after_s)
        missed = unknown_s >= timing.stale_after_s
        return ContactTrack(
            None, track.active_for_s, unknown_s, acting=track.acting, missed=missed, heard=track.heard
        )
    if not told.active:
        return ContactTrack(False, heard=True)
    active_s = min(track.active_for_s + dt, on_delay_s)
    return ContactTrack(True, active_s, acting=active_s >= on_delay_s, heard=True)


def trips(track: ContactTrack, contact: Contact) -> bool:
    """Whether a latch is due now."""
    if contact.effect is Effect.TRIP and track.acting:
        return True
    return contact.on_unknown is Effect.TRIP and track.missed and track.heard


def inhibit(track: ContactTrack, contact: Contact) -> str | None:
    """Why nothing may be raised in the zone, or None. Words only."""
    if track.acting and contact.effect is not Effect.ALARM:
        return f"contact {contact.name} is active"
    if track.active is None and contact.on_unknown is not Effect.ALARM:
        return f"contact {contact.name} is not known"
    return None


def holds_safe(track: ContactTrack, contact: Contact) -> bool:
    """Whether a zone in SAFE waits for this contact: one that may trip and is not seen at rest."""
    return contact.effect is Effect.TRIP and inhibit(track, contact) is not None


def level(track: ContactTrack) -> str | None:
    """In words where it is not at rest."""
    if track.acting:
        return "active"
    return "unknown" if track.active is None else None
