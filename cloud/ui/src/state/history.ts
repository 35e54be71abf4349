/** One device's columns over time, grown piece by piece; pure but for `loadHistory`. */

import { api } from "../api/client";
import type { Telemetry } from "../api/types";

export interface History {
  readonly step_s: number;
  readonly at_ms: readonly number[];
  readonly values: readonly (readonly (number | null)[])[];
}

/** Pages asked for in one go: an endless `next_from_ms` must not become an endless loop. */
const MAX_PAGES = 12;
const PAGE_ROWS = 5000;

/** `old` followed by what is newer in `added`, without what is older than `from_ms`. */
export function append(old: History | null, added: Telemetry, from_ms: number): History {
  const last = old?.at_ms[old.at_ms.length - 1] ?? -Infinity;
  const news = added.at_ms.findIndex((at) => at > last);
  const start = news < 0 ? added.at_ms.length : news;
  const times = [...(old?.at_ms ?? []), ...added.at_ms.slice(start)];
  const rows = added.columns.map((_, i) => [...(old?.values[i] ?? []), ...(added.values[i] ?? []).slice(start)]);
  const keep = times.findIndex((at) => at >= from_ms);
  const cut = keep < 0 ? times.length : keep;
  return { step_s: added.step_s ?? old?.step_s ?? 0, at_ms: times.slice(cut), values: rows.map((row) => row.slice(cut)) };
}

/** Times in s with a null row in each hole, so that a gap is drawn as a gap and not bridged. */
export function withGaps(history: History): { at_s: number[]; values: (number | null)[][] } {
  const at_s: number[] = [];
  const values: (number | null)[][] = history.values.map(() => []);
  const hole_ms = history.step_s * 2500;
  history.at_ms.forEach((at, i) => {
    const before = history.at_ms[i - 1];
    if (before !== undefined && history.step_s > 0 && at - before > hole_ms) {
      at_s.push((before + history.step_s * 1000) / 1000);
      for (const row of values) row.push(null);
    }
    at_s.push(at / 1000);
    values.forEach((row, c) => row.push(history.values[c]?.[i] ?? null));
  });
  return { at_s, values };
}

/** Everything from `from_ms` on, after what `old` has already. */
export async function loadHistory(
  site: string, device: string, columns: readonly string[], from_ms: number, old: History | null, signal: AbortSignal,
): Promise<History> {
  const last = old?.at_ms[old.at_ms.length - 1];
  let next: number | null = last === undefined ? Math.floor(from_ms) : last + 1;
  let history = old;
  for (let page = 0; page < MAX_PAGES && next !== null; page += 1) {
    const answer: Telemetry = await api.telemetry(site, device, columns, next, PAGE_ROWS, signal);
    history = append(history, answer, from_ms);
    next = answer.next_from_ms;
  }
  return history ?? { step_s: 0, at_ms: [], values: columns.map(() => []) };
}
