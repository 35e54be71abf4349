/** One line of the automation log, with everything that led to it one click away. */

import type { JSX } from "preact";
import type { EventView } from "../api/types";
import { plain } from "../format/numbers";
import { kindWords, sentence } from "../format/words";
import { evidence } from "../state/evidence";
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
