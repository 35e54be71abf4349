/** Keeps the live stream open: reads it, notices silence, and comes back after a failure. */

import { signal } from "@preact/signals";
import { address } from "../api/client";
import type { LiveMessage } from "../api/types";
import { syncClock, utcNow } from "../state/clock";
import { NEW_LINK, retryDelay, SILENCE_MS, type Link } from "./link";
import { SseParser, type SseEvent } from "./sse";

export const link = signal<Link>(NEW_LINK);

const TYPES = new Set<string>(["snapshot", "site", "devices", "alarm", "event", "model", "rollout", "command"]);

/** The message in an event; null for a type that this build does not know (a newer cloud may send one). */
export function messageOf(event: SseEvent): LiveMessage | null {
  if (!TYPES.has(event.type)) return null;
  try {
    return { type: event.type, body: JSON.parse(event.data) } as LiveMessage;
  } catch {
    return null;
  }
}

async function readOnce(lastId: string | null, onEvent: (event: SseEvent) => void): Promise<void> {
  const abort = new AbortController();
  let watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
  const alive = (): void => {
    clearTimeout(watchdog);
    watchdog = setTimeout(() => abort.abort(), SILENCE_MS);
  };
  try {
    const headers: Record<string, string> = { Accept: "text/event-stream" };
    if (lastId !== null) headers["Last-Event-ID"] = lastId;
    const response = await fetch(address("/live"), { headers, signal: abort.signal, cache: "no-store" });
    if (!response.ok || response.body === null) throw new Error(`live stream answered ${response.status}`);
    syncClock(response.headers.get("date"));
    link.value = { ...link.value, phase: "open", retry_ms: null };
    const parser = new SseParser();
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      for (const event of parser.feed(value)) onEvent(event);
    }
  } finally {
    clearTimeout(watchdog);
    abort.abort();
  }
}

/** Resolves after `ms`, or at once when the browser says that the network is back. */
function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      clearTimeout(timer);
      removeEventListener("online", end);
      resolve();
    };
    const timer = setTimeout(end, ms);
    addEventListener("online", end);
  });
}

/** Runs for the life of the page; every message goes to `onMessage`. */
export async function follow(onMessage: (message: LiveMessage, now_ms: number) => void): Promise<never> {
  let lastId: string | null = null;
  for (;;) {
    try {
      await readOnce(lastId, (event) => {
        const message = messageOf(event);
        if (message === null) return;
        lastId = event.id ?? lastId;
        onMessage(message, utcNow());
        // A link has proved itself only when data came; a proxy that opens and closes keeps backing off.
        link.value = { ...link.value, data_ms: utcNow(), failures: 0 };
      });
    } catch {
      // Any failure (refused, cut, silent) has the same cure, and the indicator shows it.
    }
    const failures = link.value.failures + 1;
    const delay = retryDelay(failures);
    link.value = { ...link.value, phase: "waiting", failures, retry_ms: utcNow() + delay };
    await pause(delay);
    link.value = { ...link.value, phase: "connecting" };
  }
}
