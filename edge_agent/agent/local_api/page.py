"""The page for a technician's phone: plain HTML, no script, readable in the sun, refreshed by itself."""

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from typing import Final

from edge_agent.agent.local_api.status import DataAge, PowerState, Status
from edge_agent.ipc import CapStatus, Mode, StandingOrder, StandingState, ZoneStatus
from shared.ids import ZoneId

_STYLE: Final = """
body{font:17px/1.45 system-ui,sans-serif;margin:0 auto;max-width:44rem;padding:1rem;color:#111}
h1{font-size:1.4rem;margin:.2rem 0 1rem}h2{font-size:1.05rem;margin:1.4rem 0 .4rem}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.3rem .5rem;border-bottom:1px solid #ccc;overflow-wrap:break-word}
.id{overflow-wrap:anywhere}
.bad,.ok,.warn{padding:.1rem .5rem;border-radius:.2rem;white-space:nowrap}
.bad{background:#b00020;color:#fff}.ok{background:#1b7f3b;color:#fff}.warn{background:#ffb300}
.stop{font:inherit;padding:.7rem 1.2rem;background:#b00020;color:#fff;border:0;border-radius:.3rem}
a.stop{display:inline-block;margin-top:1.4rem;text-decoration:none}label{display:block;margin:1rem 0}
"""
_SHOWN: Final = 12
_REFRESH: Final = "<meta http-equiv=refresh content=5>"


def render(status: Status) -> str:
    """The status page; every text from outside is escaped."""
    zones = "".join(_zone(zone, state) for zone, state in status.zones.items())
    unknown = '<tr><td colspan="4">The guardian says nothing: the state of the site is unknown.</tr>'
    # Whoever opens this in a hurry wants the trip and the button before anything else.
    body = (
        f"{_trips(status)}"
        f"<table><tr><th>Zone<th>Mode<th>Cooling<th>Inhibited</tr>{zones or unknown}</table>"
        '<a class=stop href="/safe-stop">Safe stop …</a>'
        f"{_power(status.power)}{_links(status)}{_ages(status)}{_model(status)}{_events(status)}"
    )
    return _frame(status.site, body, head=_REFRESH)


def render_stop(site: str, zones: Iterable[ZoneId], *, token: str) -> str:
    """The form that asks once more; it does not refresh under one's finger."""
    options = "".join(f'<option value="{escape(zone)}">{escape(zone)}</option>' for zone in sorted(zones))
    body = (
        "<p>Mining stops there and cooling keeps running. Starting again is done from the gateway or the "
        'cloud.</p><form method=post action="/safe-stop">'
        f'<input type=hidden name=token value="{escape(token)}">'
        f'<label>Where <select name=zone><option value="">whole site</option>{options}</select></label>'
        "<label><input type=checkbox name=confirm value=stop required> Yes, stop mining there</label>"
        '<button class=stop>Safe stop</button></form><p><a href="/">Back</a></p>'
    )
    return _frame(site, body)


def _frame(site: str, body: str, *, head: str = "") -> str:
    return (
        "<!doctype html><html lang=en><head><meta charset=utf-8>"
        '<meta name=viewport content="width=device-width,initial-scale=1">'
        f"{head}<title>{escape(site)}</title><style>{_STYLE}</style></head>"
        f"<body><h1>{escape(site)}</h1>{body}</body></html>"
    )


def _badge(text: str, *, good: bool, bad: str = "bad") -> str:
    return f'<span class="{"ok" if good else bad}">{escape(text)}</span>'


def _zone(zone: ZoneId, state: ZoneStatus) -> str:
    calm = state.mode not in (Mode.TRIPPED, Mode.SAFE)
    cooling = "proven" if state.cooling_proven else "not proven"
    notes = [escape(state.why)] if state.why else []
    notes += [
        f"{_badge('BYPASSED', good=False)} {escape(name)}, {left_s // 60 + 1} min left at most"
        for name, left_s in state.bypassed.items()
    ]
    notes += [f"Bypass of {escape(name)}: {escape(whose)}" for name, whose in state.bypass_asked.items()]
    return (
        f"<tr><td>{escape(zone)}<td>{_badge(state.mode, good=calm)}"
        f"<td>{_badge(cooling, good=state.cooling_proven)}<td>{len(state.inhibited)}</tr>"
        + "".join(f"<tr><td colspan=4>{note}</tr>" for note in notes)
    )


def _power(power: PowerState) -> str:
    """Mains, caps and the orders that stand; a site without any of them shows nothing."""
    rows = [] if power.on_battery is None else [_mains(power)]
    rows += [_cap(name, cap) for name, cap in power.caps.items()]
    ended = (StandingState.ENDED, StandingState.CANCELLED)
    rows += [_order(order) for order in power.orders if order.state not in ended]
    return f"<h2>Power</h2><table>{''.join(rows)}</table>" if rows else ""


def _mains(power: PowerState) -> str:
    if not power.on_battery:
        return f"<tr><td>Mains<td>{_badge('present', good=True)}</tr>"
    left_s = power.battery_left_s
    left = "runtime unknown" if left_s is None else f"{left_s / 60:.0f} min left"
    return f"<tr><td>Mains<td>{_badge('ON BATTERY', good=False)} {left}</tr>"


def _cap(name: str, cap: CapStatus) -> str:
    unit = escape(f" {cap.unit}" if cap.unit else "")
    value = "unknown" if cap.value is None else f"{cap.value:g}{unit}"
    level = _badge(cap.level, good=cap.value is not None and cap.level == "normal", bad="warn")
    return f"<tr><td>Cap {escape(name)}<td>{level} {value}, nothing is raised beyond {cap.limit:g}{unit}</tr>"


def _order(order: StandingOrder) -> str:
    parts = [f"{escape(order.words)} (by {escape(order.actor)})"]
    if order.target_w is not None:
        meter = "unknown" if order.meter_w is None else f"{order.meter_w / 1000:.1f} kW"
        parts.append(f"target {order.target_w / 1000:.1f} kW, meter {meter}")
    if order.start_ms is not None and order.state is StandingState.SCHEDULED:
        parts.append(f"from {_when(order.start_ms)}")
    if order.end_ms is not None:
        parts.append(f"until {_when(order.end_ms)}")
    state = _badge(order.state, good=False, bad="warn")
    parts.append(f"<span class=id>{escape(order.id)}</span>")
    return f"<tr><td>Order<td>{state} {'<br>'.join(parts)}</tr>"


def _trips(status: Status) -> str:
    rows = "".join(
        f"<tr><td>{escape(trip.zone)}<td>{escape(trip.interlock)}<td>{_when(trip.at_ms)}"
        f"<td>{escape(trip.first_out)}<td>{'still there' if trip.cause_present else 'gone'}</tr>"
        for zone in status.zones.values()
        for trip in zone.trips
    )
    if not rows:
        return ""
    return (
        f"<h2>Trips</h2><table><tr><th>Zone<th>Interlock<th>Since<th>First out<th>Cause</tr>{rows}</table>"
        "<p>Reset with <code>minewarden guardian reset</code> on this gateway, once the cause is gone.</p>"
    )


def _link(up: bool, *, bad: str = "bad") -> str:  # noqa: FBT001 - one value, shown as it is
    return _badge("connected" if up else "not connected", good=up, bad=bad)


def _links(status: Status) -> str:
    pending = sum(stream.pending for stream in status.outbox.streams.values())
    guardian, uplink = status.guardian, status.uplink
    why = f"<br>{escape(uplink.why)}" if uplink.why else ""
    return (
        "<h2>Links</h2><table>"
        f"<tr><td>Guardian<td>{_link(guardian.connected)} since {_when(guardian.since_ms)}</tr>"
        f"<tr><td>Cloud<td>{_link(uplink.connected, bad='warn')} since {_when(uplink.since_ms)}{why}</tr>"
        f"<tr><td>Waiting for the cloud<td>{pending} batches, {status.outbox.bytes / 1e6:.1f} MB</tr></table>"
    )


def _ages(status: Status) -> str:
    rows = "".join(_age(str(kind), age) for kind, age in sorted(status.data_age.items()))
    return f"<h2>Age of data</h2><table><tr><th>Devices<th>Newest<th>Oldest<th>Silent</tr>{rows}</table>"


def _age(kind: str, age: DataAge) -> str:
    newest, oldest = (f"{s:.0f} s" if s is not None else "never" for s in (age.newest_s, age.oldest_s))
    silent = _badge(str(age.silent), good=age.silent == 0, bad="warn")
    return f"<tr><td>{age.devices} × {escape(kind)}<td>{newest}<td>{oldest}<td>{silent}</tr>"


def _model(status: Status) -> str:
    active, candidate, shadow = status.model.active, status.model.candidate, status.model.shadow
    text = "none: the site runs on rules"
    if active is not None:
        text = f"{escape(active.name)} v{active.version}, {escape(active.stage)}"
        if status.model.confirmed is False:
            text += ", on trial"
    if status.model.pinned is not None:
        text += f", pinned: {escape(status.model.pinned)}"
    if candidate is not None:
        agreement = "" if shadow.agreement is None else f", {shadow.agreement:.0%} agreement"
        name = f"{escape(candidate.name)} v{candidate.version}"
        text += f"; in the shadow {name}, {shadow.cycles} cycles{agreement}"
    inference = status.inference
    return f"<h2>Model</h2><p>{text}. Scored {inference.miners} miners in {inference.last_ms:.0f} ms.</p>"


def _events(status: Status) -> str:
    rows = "".join(
        f"<tr><td>{_time(event.at_ms)}<td>{escape(event.title)}"
        + (f"<br><b>{escape(event.advice)}</b>" if event.advice else "")
        + "</tr>"
        for event in status.events[:_SHOWN]
    )
    return f"<h2>Last events (UTC)</h2><table>{rows or '<tr><td>none</tr>'}</table>"


def _time(at_ms: int) -> str:
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime("%H:%M:%S")


def _when(at_ms: int | None) -> str:
    if at_ms is None:
        return "start"
    return datetime.fromtimestamp(at_ms / 1000, tz=UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
