/** What an operator has to know of certificates first; pure. */

import type { Certificate } from "../api/identity";

const LETTERS = 16;

/** Why what was typed cannot be a fingerprint at all (16 letters and digits, whatever stands between), else null. */
export function fingerprintProblem(text: string): string | null {
  const signs = text.replace(/[^0-9a-z]/gi, "");
  if (signs.length === LETTERS) return null;
  return `A fingerprint has ${LETTERS} letters and digits; this has ${signs.length}. Have it read out again.`;
}

/** Whole days, or hours where it is less than two days. */
export function daysWords(days: number | null): string {
  if (days === null) return "unknown";
  if (days < 0) return "no time";
  if (days < 2) return `${Math.floor(days * 24)} h`;
  return `${Math.floor(days)} days`;
}

/** [live and not replaced, the soonest to end first; all others, the newest first]. What is not cut off yet stays above. */
export function byNeed(all: readonly Certificate[]): [Certificate[], Certificate[]] {
  const open = (one: Certificate): boolean => (one.state === "live" && !one.superseded) || (one.state === "revoked" && one.cut_ms === null);
  const needed = all.filter(open).toSorted((a, b) => a.not_after_ms - b.not_after_ms);
  const past = all.filter((one) => !open(one)).toSorted((a, b) => b.issued_ms - a.issued_ms);
  return [needed, past];
}
