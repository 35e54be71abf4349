import { describe, expect, it } from "vitest";
import { span } from "../format/time";
import { linkWords, NEW_LINK, QUIET_MS, retryDelay } from "./link";

describe("the indicator", () => {
  it("is live only with fresh data", () => {
    const open = { ...NEW_LINK, phase: "open", data_ms: 1000 } as const;
    expect(linkWords(open, 1000 + QUIET_MS, span)).toEqual({ tone: "good", text: "Live" });
    expect(linkWords(open, 1000 + QUIET_MS + 5000, span)).toEqual({ tone: "warn", text: "Connected · no data for 35 s" });
  });
  it("says for how long nothing came while it reconnects", () => {
    const cut = { phase: "waiting", data_ms: 0, failures: 3, retry_ms: 9 } as const;
    expect(linkWords(cut, 42_000, span)).toEqual({ tone: "bad", text: "Reconnecting · no data for 42 s" });
    expect(linkWords({ ...cut, data_ms: null }, 42_000, span).text).toBe("Reconnecting · no data yet");
  });
  it("starts by connecting", () => expect(linkWords(NEW_LINK, 0, span).text).toBe("Connecting…"));
});

describe("the retry", () => {
  it("backs off to 15 s", () => expect([1, 2, 3, 4, 5, 50].map(retryDelay)).toEqual([1000, 2000, 4000, 8000, 15_000, 15_000]));
});
