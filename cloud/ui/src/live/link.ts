/** How the live link stands, in words; pure, so that every case can be tested. */

/** Without a byte for this long (heartbeats come every 10 s) the connection is taken for dead. */
export const SILENCE_MS = 25_000;
/** Connected, but nothing new from any site for this long: said, because "live" would mislead. */
export const QUIET_MS = 30_000;
const FIRST_RETRY_MS = 1000;
const MAX_RETRY_MS = 15_000;

export interface Link {
  readonly phase: "connecting" | "open" | "waiting";
  /** When the last message with data came; null before the first. */
  readonly data_ms: number | null;
  /** Failed tries in a row. */
  readonly failures: number;
  /** When the next try starts, while waiting. */
  readonly retry_ms: number | null;
}

export const NEW_LINK: Link = { phase: "connecting", data_ms: null, failures: 0, retry_ms: null };

/** 1, 2, 4, 8, 15 s … so that a cloud that restarts is found soon and one that is down is left in peace. */
export function retryDelay(failures: number): number {
  return Math.min(MAX_RETRY_MS, FIRST_RETRY_MS * 2 ** Math.max(0, failures - 1));
}

export interface LinkWords {
  readonly tone: "good" | "warn" | "bad";
  readonly text: string;
}

export function linkWords(link: Link, now_ms: number, ageText: (seconds: number) => string): LinkWords {
  const quiet_s = link.data_ms === null ? null : Math.max(0, (now_ms - link.data_ms) / 1000);
  const silence = quiet_s === null ? "no data yet" : `no data for ${ageText(quiet_s)}`;
  if (link.phase === "open") {
    return quiet_s !== null && quiet_s * 1000 <= QUIET_MS
      ? { tone: "good", text: "Live" }
      : { tone: "warn", text: `Connected · ${silence}` };
  }
  if (link.data_ms === null && link.failures === 0) return { tone: "warn", text: "Connecting…" };
  return { tone: "bad", text: `Reconnecting · ${silence}` };
}
