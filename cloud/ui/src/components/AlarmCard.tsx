import type { JSX } from "preact";
import { api } from "../api/client";
import type { AlarmView } from "../api/types";
import { plain } from "../format/numbers";
import { sentence } from "../format/words";
import { toDevice, toSite } from "../route";
import { receiveAlarm } from "../state/store";
import { Badge, SeverityMark, When } from "./basics";
import { ask } from "./confirm";

function acknowledge(alarm: AlarmView): void {
  let note = "";
  ask({
    title: "Acknowledge this alarm?",
    verb: "Acknowledge",
    body: (
      <>
        <p><strong>{alarm.title}</strong></p>
        <p>Everyone sees that you have taken it. The alarm stays open until its cause is gone.</p>
        <label class="note-field">Note (optional) <input maxLength={300} onInput={(event) => (note = event.currentTarget.value.trim())} /></label>
      </>
    ),
    run: async (actor) => receiveAlarm(await api.acknowledge(alarm.id, actor, note)),
  });
}

/** `inbox`: on a page of alarms only, where each is a section of its own and may come from any site. */
export function AlarmCard({ alarm, inbox = false }: { readonly alarm: AlarmView; readonly inbox?: boolean }): JSX.Element {
  const Heading = inbox ? "h2" : "h3";
  const open = alarm.cleared_ms === null;
  const data = Object.entries(alarm.data);
  return (
    <li class={`alarm ${open ? alarm.severity : "cleared"}`}>
      <div class="alarm-head">
        <SeverityMark severity={alarm.severity} />
        <Heading>{alarm.title}</Heading>
        {open ? null : <Badge tone="good">Cleared <When at_ms={alarm.cleared_ms} relative /></Badge>}
      </div>
      {alarm.advice ? <p class="advice"><strong>Do:</strong> {alarm.advice}</p> : null}
      <div class="alarm-facts">
        {inbox ? <a href={toSite(alarm.site)}>{alarm.site}</a> : null}
        {alarm.zone ? <span>zone {alarm.zone}</span> : null}
        {alarm.device ? <a href={toDevice(alarm.site, alarm.device)}>{alarm.device}</a> : null}
        <span>since <When at_ms={alarm.opened_ms} /> (<When at_ms={alarm.opened_ms} relative />)</span>
        {alarm.count > 1 ? <span>{alarm.count} times</span> : null}
      </div>
      {data.length ? (
        <details>
          <summary>Evidence</summary>
          <dl class="evidence-flat">
            {data.map(([name, value]) => <div key={name}><dt>{sentence(name)}</dt><dd>{plain(value)}</dd></div>)}
          </dl>
        </details>
      ) : null}
      <div class="alarm-ack">
        {alarm.acknowledged_ms !== null ? (
          <span class="acked">✓ Acknowledged by {alarm.acknowledged_by ?? "unknown"}, <When at_ms={alarm.acknowledged_ms} relative />{alarm.note ? `: ${alarm.note}` : ""}</span>
        ) : open ? (
          <button type="button" onClick={() => acknowledge(alarm)}>Acknowledge…</button>
        ) : (
          <span class="muted">Cleared without acknowledgement</span>
        )}
      </div>
    </li>
  );
}
