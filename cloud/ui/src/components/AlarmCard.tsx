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
  ask({
    title: "Acknowledge this alarm?",
    verb: "Acknowledge",
    body: (
      <>
        <p><strong>{alarm.title}</strong></p>
        <p>Everyone sees that you have taken it. The alarm stays open until its cause is gone.</p>
      </>
    ),
    run: async (actor) => receiveAlarm(await api.acknowledge(alarm.id, actor, "")),
  });
}

export function AlarmCard({ alarm, showSite }: { readonly alarm: AlarmView; readonly showSite: boolean }): JSX.Element {
  const open = alarm.cleared_ms === null;
  const data = Object.entries(alarm.data);
  return (
    <li class={`alarm ${open ? alarm.severity : "cleared"}`}>
      <div class="alarm-head">
        <SeverityMark severity={alarm.severity} />
        <h3>{alarm.title}</h3>
        {open ? null : <Badge tone="good">Cleared <When at_ms={alarm.cleared_ms} relative /></Badge>}
      </div>
      {alarm.advice ? <p class="advice"><strong>Do:</strong> {alarm.advice}</p> : null}
      <div class="alarm-facts">
        {showSite ? <a href={toSite(alarm.site)}>{alarm.site}</a> : null}
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
          <span class="acked">✓ Acknowledged by {alarm.acknowledged_by ?? "unknown"}, <When at_ms={alarm.acknowledged_ms} relative /></span>
        ) : open ? (
          <button type="button" onClick={() => acknowledge(alarm)}>Acknowledge…</button>
        ) : (
          <span class="muted">Cleared without acknowledgement</span>
        )}
      </div>
    </li>
  );
}
