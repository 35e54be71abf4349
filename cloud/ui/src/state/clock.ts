/**
 * The cloud's time, as this page knows it.
 *
 * Ages must not depend on whether this computer's clock is right or jumps, so time runs on the browser's
 * monotonic clock and is set from the `Date` header of answers (whole seconds, hence the half second).
 */

import { signal } from "@preact/signals";

const MAX_DRIFT_MS = 1500;
let base_ms = Date.now() - performance.now();

/** UTC milliseconds as the cloud would say, to about a second. */
export function utcNow(): number {
  return base_ms + performance.now();
}

/** Take over the server's time where ours is off by more than the header's own uncertainty. */
export function syncClock(dateHeader: string | null): void {
  const server_ms = dateHeader === null ? NaN : Date.parse(dateHeader) + 500;
  if (Number.isFinite(server_ms) && Math.abs(server_ms - utcNow()) > MAX_DRIFT_MS) {
    base_ms = server_ms - performance.now();
  }
}

/** Moves once a second, so that every age on the page grows without anything arriving. */
export const now = signal(utcNow());

export function startClock(): void {
  setInterval(() => (now.value = utcNow()), 1000);
}
