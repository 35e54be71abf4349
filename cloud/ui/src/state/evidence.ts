/** Sorts an event's flat evidence into the steps of a decision: proposal → verdict → writes → read-back. */

import type { Data } from "../api/types";

export interface Part {
  readonly title: string;
  readonly entries: readonly (readonly [string, unknown])[];
}

/** First match wins; what matches none is evidence. */
const STEPS: readonly (readonly [string, RegExp])[] = [
  ["Proposal", /^(id$|source|why|asked|by$|policy|proposal|action|reason|model|version|sha256|confidence|priority|actor|order|preset$|point$)/],
  ["Verdict", /^(verdict|outcome|permit|violation|bound|rule|limit|refused|applied|narrowed|allowed)/],
  ["Writes", /^(write|result$|took|detail)/],
  ["Read-back", /^(read_?back|before|after|confirmed|observed)/],
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
