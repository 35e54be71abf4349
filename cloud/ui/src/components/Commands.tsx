/** Commands that were sent to a site and what became of them: sent is not done, done needs a read-back. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { signal } from "@preact/signals";
import { api } from "../api/client";
import type { CommandView, Order } from "../api/types";
import { now } from "../state/clock";
import { useResource } from "../state/resource";
import { Badge, Empty, Failure, Loading, When, type Tone } from "./basics";
import { span } from "../format/time";

/** Moves when this page sends something, so that the list looks at once. */
export const sent = signal(0);

export async function send(site: string, order: Order, actor: string): Promise<void> {
  await api.send(site, order, actor);
  sent.value += 1;
}

const TONES: Readonly<Record<CommandView["state"], Tone>> = {
  sent: "info", accepted: "info", running: "info", done: "good", refused: "bad", expired: "warn",
};
const MOVING: ReadonlySet<string> = new Set(["sent", "accepted", "running"]);
const POLL_MS = 1500;
const SHOWN = 8;

/** Longest time that a command is watched: its life and a generous execution. */
const WATCH_MS = 180_000;

export function Commands({ site, device }: { readonly site: string; readonly device?: string }): JSX.Element {
  const list = useResource(`commands ${site}`, (signal) => api.commands(site, signal));
  const mine = (list.data?.items ?? [])
    .filter((command) => device === undefined || concerns(command, device))
    .toSorted((a, b) => b.issued_ms - a.issued_ms)
    .slice(0, SHOWN);
  const moving = mine.some((command) => MOVING.has(command.state) && now.value - command.issued_ms < WATCH_MS);
  useEffect(() => {
    if (sent.value > 0) list.reload();
  }, [sent.value]);
  useEffect(() => {
    if (!moving) return undefined;
    const timer = setInterval(list.reload, POLL_MS);
    return () => clearInterval(timer);
  }, [moving]);
  if (list.data === null) {
    return list.problem ? <Failure problem={list.problem} retry={list.reload} /> : <Loading what="commands" />;
  }
  if (mine.length === 0) return <Empty title="No commands sent yet" />;
  return <ul class="commands">{mine.map((command) => <CommandLine key={command.id} command={command} />)}</ul>;
}

/** The writes name their device; before there are any, the command is shown with the site's. */
function concerns(command: CommandView, device: string): boolean {
  if (command.writes.length === 0) return JSON.stringify(command).includes(`"${device}"`) || MOVING.has(command.state);
  return command.writes.some((write) => write.action["device"] === device);
}

function CommandLine({ command }: { readonly command: CommandView }): JSX.Element {
  const applied = command.writes.filter((write) => write.result === "applied").length;
  const left = (command.expires_ms - now.value) / 1000;
  return (
    <li>
      <Badge tone={command.state === "done" && command.outcome !== "applied" ? "warn" : TONES[command.state]}>
        {command.state}{command.outcome ? `: ${command.outcome}` : ""}
      </Badge>{" "}
      <When at_ms={command.issued_ms} /> by {command.actor}
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
