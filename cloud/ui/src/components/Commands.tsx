/** Commands that were sent to a site and what became of them: sent is not done, done needs a read-back. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { api } from "../api/client";
import type { CommandView, Order, PlanView, PreviewStep } from "../api/types";
import { now } from "../state/clock";
import { useResource } from "../state/resource";
import { fleet, receiveCommand } from "../state/store";
import { Badge, Empty, Failure, Loading, When, type Tone } from "./basics";
import type { Question } from "./confirm";
import { known, power } from "../format/numbers";
import { span } from "../format/time";

/** Send what needs no plan: a safe-stop, because stopping is the safe direction. */
export async function send(site: string, order: Order, actor: string): Promise<void> {
  receiveCommand(await api.send(site, order, actor));
}

/** First step of an order that touches power: ask the site what it would do; the answer is the next question. */
export function planned(site: string, order: Order, verb: string, danger = false): Pick<Question, "verb" | "busy" | "run"> {
  return {
    verb: "Ask the site first",
    busy: "Asking the site…",
    run: async (actor) => confirmation(await api.plan(site, order, actor), verb, danger),
  };
}

function confirmation(plan: PlanView, verb: string, danger: boolean): Question {
  const blind = plan.preview === null;
  return {
    title: `Send “${orderWords(plan.order)}”?`,
    verb: blind ? `${verb} without knowing` : verb,
    danger: danger || blind,
    body: <Planned plan={plan} />,
    run: async (actor) => receiveCommand(await api.confirm(plan.id, actor, blind)),
  };
}

/** What the site itself says it would do, or why it says nothing. */
function Planned({ plan }: { readonly plan: PlanView }): JSX.Element {
  const left_s = Math.max(0, (plan.expires_ms - now.value) / 1000);
  const preview = plan.preview;
  return (
    <div class="planned">
      {preview === null ? (
        <p class="note warn-note" role="status">
          <strong>Nobody says what this would do:</strong> {plan.detail}. Sent now, it does whatever the site's limits allow, or expires unheard.
        </p>
      ) : (
        <>
          <p>The site says what would happen now. Nothing has been done yet.</p>
          {known(preview.expected_w) || known(preview.now_w) ? (
            <p>
              Site power <strong>{power(preview.now_w)}</strong> now, <strong>{power(preview.expected_w)}</strong> expected
              {known(preview.takes_s) ? <> after about {span(preview.takes_s)}</> : null}.
            </p>
          ) : null}
          {preview.reaches_target === false ? <p class="note warn-note"><strong>This does not reach the target.</strong></p> : null}
          {preview.refused > 0 ? <p class="note warn-note"><strong>{preview.refused} of {Math.max(preview.total_steps, preview.refused)} would be refused.</strong></p> : null}
          {preview.steps.length > 0 ? (
            <ul class="writes">
              {preview.steps.slice(0, STEPS_SHOWN).map((step, i) => <PlannedStep key={i} step={step} />)}
              {preview.total_steps > STEPS_SHOWN ? <li class="muted">and {preview.total_steps - STEPS_SHOWN} more</li> : null}
            </ul>
          ) : null}
          {preview.detail ? <p class="muted">{preview.detail}</p> : null}
        </>
      )}
      <p class="muted">{left_s > 0 ? `This plan is good for ${span(left_s)} more.` : "This plan has expired: cancel and ask again."}</p>
    </div>
  );
}

const STEPS_SHOWN = 8;

function PlannedStep({ step }: { readonly step: PreviewStep }): JSX.Element {
  return (
    <li>
      <code>{String(step.action["device"] ?? "")}</code> {actionWords(step.action)}
      {known(step.saves_w) && step.saves_w !== 0 ? `, saves ${power(step.saves_w)}` : ""}
      {step.words ? <> – {step.words}</> : null}
    </li>
  );
}

function actionWords(action: Readonly<Record<string, unknown>>): string {
  switch (action["do"]) {
    case "set-preset": return `preset ${String(action["preset"])}`;
    case "set-point": return `${String(action["point"])} = ${String(action["value"])}`;
    case "outlet": return `outlet ${String(action["outlet"])} ${action["on"] === true ? "on" : "off"}`;
    default: return String(action["do"] ?? "");
  }
}

/** An order in words: "safe stop of hall-a", "m-05: preset 2550", "down to 1.2 MW for 2 h". */
export function orderWords(order: Order): string {
  switch (order.order) {
    case "safe-stop": return `safe stop of ${order.zone ?? "the site"}`;
    case "curtail": return `down to ${power(order.target_w)} for ${span(order.duration_s)}`;
    case "power-cap": return order.cap_w === null ? "no power cap any more" : `power cap ${power(order.cap_w)}`;
    case "schedule": return `scheduled for ${span((order.end_ms - order.start_ms) / 1000)}: ${orderWords(order.what)}`;
    case "cancel": return `cancel order ${order.target}`;
    case "renew": return `renew order ${order.target}`;
    case "actions":
      return order.actions
        .map((action) => `${action.device}: ${actionWords({ ...action })}`)
        .join(", ");
    default: return "an order of a newer kind";
  }
}

/** Whether an order may have touched this device; what concerns the whole site concerns each of its devices. */
function concerns(command: CommandView, device: string): boolean {
  return command.order.order !== "actions" || command.order.actions.some((action) => action.device === device);
}

const TONES: Readonly<Record<CommandView["state"], Tone>> = {
  sent: "info", received: "info", accepted: "info", running: "info", done: "good", refused: "bad", expired: "warn",
};
const MOVING: ReadonlySet<string> = new Set(["sent", "received", "accepted", "running"]);
/** The live stream tells changes at once; this only covers a stream that is down. */
const POLL_MS = 3000;
const SHOWN = 8;

/** Longest time that a command is watched: its life and a generous execution. */
const WATCH_MS = 180_000;

export function Commands({ site, device }: { readonly site: string; readonly device?: string }): JSX.Element {
  const list = useResource(`commands ${site}`, (signal) => api.commands(site, signal));
  const merged = new Map((list.data?.items ?? []).map((command) => [command.id, command]));
  // The live stream and our own answers are newer than the list, but not newer than a list loaded since.
  for (const command of fleet.value.commands.values()) {
    const known = merged.get(command.id);
    if (command.site === site && (known === undefined || known.history.length <= command.history.length)) merged.set(command.id, command);
  }
  const mine = [...merged.values()]
    .filter((command) => device === undefined || concerns(command, device))
    .toSorted((a, b) => b.issued_ms - a.issued_ms)
    .slice(0, SHOWN);
  const moving = mine.some((command) => MOVING.has(command.state) && now.value - command.issued_ms < WATCH_MS);
  useEffect(() => {
    if (!moving) return undefined;
    const timer = setInterval(list.reload, POLL_MS);
    return () => clearInterval(timer);
  }, [moving]);
  if (list.data === null && mine.length === 0) {
    return list.problem ? <Failure problem={list.problem} retry={list.reload} /> : <Loading what="commands" />;
  }
  if (mine.length === 0) return <Empty title="No commands sent yet" />;
  return <ul class="commands">{mine.map((command) => <CommandLine key={command.id} command={command} />)}</ul>;
}

function CommandLine({ command }: { readonly command: CommandView }): JSX.Element {
  const applied = command.writes.filter((write) => write.result === "applied").length;
  const left = (command.expires_ms - now.value) / 1000;
  return (
    <li>
      <Badge tone={command.state === "done" && command.outcome !== "applied" ? "warn" : TONES[command.state]}>
        {command.state}{command.outcome && !MOVING.has(command.state) ? `: ${command.outcome}` : ""}
      </Badge>{" "}
      <strong>{orderWords(command.order)}</strong> · <When at_ms={command.issued_ms} /> by {command.actor}
      {command.source === "cloud" ? null : <span class="muted"> · signed with key <code>{command.key}</code>, not here</span>}
      {command.state === "sent" && left > 0 ? <span class="muted"> · expires in {span(left)}</span> : null}
      {command.detail ? <div class="muted">{command.detail}</div> : null}
      {command.writes.length ? (
        <details>
          <summary>{applied} of {command.writes.length} writes confirmed by read-back</summary>
          <ul class="writes">
            {command.writes.map((write, i) => (
              <li key={i}>
                <code>{String(write.action["device"] ?? "")}</code> {String(write.action["do"] ?? "")}: {write.result}
                {write.before || write.after ? ` (${write.before || "?"} → ${write.after || "?"})` : ""} {write.detail}
              </li>
            ))}
          </ul>
        </details>
      ) : null}
    </li>
  );
}
