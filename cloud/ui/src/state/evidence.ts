/** Sorts an event's flat evidence into the steps of a decision: proposal → verdict → writes → read-back. */

import type { Data } from "../api/types";

export interface Part {
  readonly title: string;
  readonly entries: readonly (readonly [string, unknown])[];
}

/** First match wins; what matches none is evidence. */
const STEPS: readonly (readonly [string, RegExp])[] = [
  ["Proposal", /^(policy|proposal|asked|action|do|reason|why|model|version|sha256|confidence|priority|actor|order|ttl|preset$|point$|requested)/],
  ["Verdict", /^(verdict|outcome|result$|permit|violation|bound|rule|limit|refused|applied|allowed|clamped|lease)/],
  ["Writes", /^(write|wrote|took|detail)/],
  ["Read-back", /^(read_?back|before|after|confirmed|observed|settle)/],
];

export function evidence(data: Data): Part[] {
  const parts = new Map<string, (readonly [string, unknown])[]>();
  for (const [name, value] of Object.entries(data)) {
    const title = STEPS.find(([, pattern]) => pattern.test(name))?.[0] ?? "Evidence";
    parts.set(title, [...(parts.get(title) ?? []), [name, value]]);
  }
  return [...STEPS.map(([title]) => title), "Evidence"]
    .filter((title) => parts.has(title))
    .map((title) => ({ title, entries: parts.get(title) ?? [] }));
}
