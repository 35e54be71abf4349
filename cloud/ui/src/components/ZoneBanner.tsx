/** One zone at a glance: who is in charge, is cooling proven, did something trip and what to do now. */

import type { JSX } from "preact";
import type { AlarmView, EventView, ZoneView } from "../api/types";
import { modeWords } from "../format/words";
import { operatorCommand } from "../format/advice";
import { Badge, When } from "./basics";

interface Props {
  readonly zone: ZoneView;
  readonly stale: boolean;
  /** The trip's own event or alarm, for its time and advice. */
  readonly trip: EventView | AlarmView | null;
}

function tripMoment(trip: EventView | AlarmView): number {
  return "opened_ms" in trip ? trip.opened_ms : trip.at_ms;
}

function Cooling({ proven }: { readonly proven: boolean | null }): JSX.Element {
  if (proven === null) return <Badge tone="unknown">Cooling unknown</Badge>;
  return proven ? <Badge tone="good">✓ Cooling proven</Badge> : <Badge tone="warn">✕ Cooling not proven</Badge>;
}

export function ZoneBanner({ zone, stale, trip }: Props): JSX.Element {
  const mode = modeWords(zone.tripped ? "tripped" : zone.mode);
  return (
    <section class={`zone ${stale ? "stale" : mode.tone}`} aria-label={`Zone ${zone.id}`}>
      <div class="zone-line">
        <h2>{zone.id}</h2>
        <Badge tone={stale ? "unknown" : mode.tone} title={mode.about}>{stale ? "was " : ""}{mode.label}</Badge>
        <Cooling proven={stale ? null : zone.cooling_proven} />
        {zone.inhibited ? <Badge tone="warn">{zone.inhibited} inhibited</Badge> : null}
        {zone.restarting ? <Badge tone="info">Restarting, staggered</Badge> : null}
        <span class="zone-about">{stale ? "Last known; the site is not sending. " : ""}{mode.about}</span>
      </div>
      {zone.tripped ? (
        <div class="trip">
          <p>
            <strong>First out:</strong> {zone.first_out ?? "not reported yet"}
            {trip ? <> · <When at_ms={tripMoment(trip)} /></> : null}
          </p>
          {trip?.advice ? <p><strong>Do now:</strong> {trip.advice}</p> : null}
          <p>
            <strong>Reset</strong> works on the gateway only, never from here, and not while the cause is present:
          </p>
          <p class="copy-line">
            <code>{operatorCommand(zone.id)}</code>
            <button type="button" class="small" onClick={() => void navigator.clipboard?.writeText(operatorCommand(zone.id))}>Copy</button>
          </p>
        </div>
      ) : null}
    </section>
  );
}
