/**
 * Folds a flood of like decisions into one line: a trip stops every miner of a zone, and thirty-six lines
 * that say so hide the one that says why. Pure; nothing is left out, the line opens.
 */

import type { EventView } from "../api/types";

export interface Group {
  /** What all of them say after the device's name. */
  readonly title: string;
  readonly events: readonly EventView[];
}

/** Fewer than this stay as they are. */
const LEAST = 4;
/** Longest time between two neighbours of one flood. */
const APART_MS = 30_000;

function saying(event: EventView): string | null {
  if (event.kind !== "action" || event.device === null || event.advice !== "") return null;
  const head = `${event.device}: `;
  return event.title.startsWith(head) ? event.title.slice(head.length) : null;
}

function alike(a: EventView, b: EventView): boolean {
  return a.site === b.site && a.zone === b.zone && saying(a) === saying(b) && Math.abs(a.at_ms - b.at_ms) <= APART_MS;
}

/** Events in the order given (newest first), with each flood as one `Group`. */
export function grouped(events: readonly EventView[]): (EventView | Group)[] {
  const lines: (EventView | Group)[] = [];
  let run: EventView[] = [];
  const flush = (): void => {
    const title = run[0] === undefined ? null : saying(run[0]);
    if (run.length >= LEAST && title !== null) lines.push({ title, events: run });
    else lines.push(...run);
    run = [];
  };
  for (const event of events) {
    const last = run[run.length - 1];
    if (last !== undefined && (saying(event) === null || !alike(last, event))) flush();
    run.push(event);
  }
  flush();
  return lines;
}
