/** One line of the automation log, with everything that led to it one click away. */

import type { JSX } from "preact";
import type { EventView } from "../api/types";
import { plain } from "../format/numbers";
import { kindWords, sentence } from "../format/words";
import { span } from "../format/time";
import { evidence } from "../state/evidence";
import type { Group } from "../state/groups";
import { toDevice, toSite } from "../route";
import { Badge, SeverityMark, When, type Tone } from "./basics";

const TONES: Readonly<Record<string, Tone>> = {
  "tripped": "bad", "cleared": "good", "inhibited": "warn", "released": "good", "shed": "warn", "action": "info", "refused": "warn",
  "mode": "info", "alarm": "warn", "alarm-cleared": "good", "model": "info",
};

export function EventLine({ event, showSite }: { readonly event: EventView; readonly showSite: boolean }): JSX.Element {
  const parts = evidence(event.data);
  return (
    <li class="event">
      <span class="event-when"><When at_ms={event.at_ms} /></span>
      <span class="event-kind"><Badge tone={TONES[event.kind] ?? "plain"}>{kindWords(event.kind)}</Badge></span>
      <div class="event-main">
        <div class="event-line">
          <span class="event-title">
            {event.severity !== "low" ? <SeverityMark severity={event.severity} /> : null} {event.title}
          </span>
          <span class="event-where">
            {showSite ? <a href={toSite(event.site)}>{event.site}</a> : null}
            {event.zone ? <span>{event.zone}</span> : null}
            {event.device ? <a href={toDevice(event.site, event.device)}>{event.device}</a> : null}
          </span>
        </div>
        {event.advice ? <p class="advice"><strong>Do:</strong> {event.advice}</p> : null}
        {parts.length ? (
          <details>
            <summary>Why{event.kind === "action" ? ": proposal, verdict, writes, read-back" : ""}</summary>
            {parts.map((part) => (
              <div class="evidence" key={part.title}>
                <h4>{part.title}</h4>
                <dl>
                  {part.entries.map(([name, value]) => (
                    <div key={name}><dt>{sentence(name)}</dt><dd>{plain(value)}</dd></div>
                  ))}
                </dl>
              </div>
            ))}
          </details>
        ) : null}
      </div>
    </li>
  );
}

/** A flood as one line that opens: how many, what, where, and for how long it went on. */
export function EventGroup({ group, showSite }: { readonly group: Group; readonly showSite: boolean }): JSX.Element | null {
  const [newest] = group.events;
  const oldest = group.events[group.events.length - 1];
  if (newest === undefined || oldest === undefined) return null;
  return (
    <li class="event">
      <span class="event-when"><When at_ms={newest.at_ms} /></span>
      <span class="event-kind"><Badge tone={TONES[newest.kind] ?? "plain"}>{kindWords(newest.kind)} × {group.events.length}</Badge></span>
      <div class="event-main">
        <div class="event-line">
          <span class="event-title">{group.events.length} devices: {group.title}</span>
          <span class="event-where">
            {showSite ? <a href={toSite(newest.site)}>{newest.site}</a> : null}
            {newest.zone ? <span>{newest.zone}</span> : null}
            <span>within {span((newest.at_ms - oldest.at_ms) / 1000)}</span>
          </span>
        </div>
        <details>
          <summary>Each of them</summary>
          <ol class="log">{group.events.map((event) => <EventLine key={event.id} event={event} showSite={false} />)}</ol>
        </details>
      </div>
    </li>
  );
}
