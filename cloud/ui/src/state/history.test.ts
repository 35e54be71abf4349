import { afterEach, describe, expect, it, vi } from "vitest";
import type { Telemetry } from "../api/types";
import { append, loadHistory, withGaps } from "./history";

const page = (at_ms: number[], next: number | null = null): Telemetry => ({
  device: "m-01", step_s: 5, columns: ["power_w_mean"], at_ms, values: [at_ms.map((at) => at / 1000)], next_from_ms: next,
});

describe("append", () => {
  it("adds only what is newer and drops what is too old", () => {
    const first = append(null, page([0, 5000, 10_000]), 0);
    const next = append(first, page([5000, 10_000, 15_000]), 5000);
    expect(next.at_ms).toEqual([5000, 10_000, 15_000]);
    expect(next.values).toEqual([[5, 10, 15]]);
  });
  it("takes an empty answer", () => expect(append(append(null, page([0]), 0), page([]), 0).at_ms).toEqual([0]));
  it("forgets all when all is too old", () => expect(append(null, page([0, 5000]), 9000).at_ms).toEqual([]));
});

describe("gaps", () => {
  it("are drawn as gaps", () => {
    const drawn = withGaps(append(null, page([0, 5000, 60_000]), 0));
    expect(drawn.at_s).toEqual([0, 5, 10, 60]);
    expect(drawn.values).toEqual([[0, 5, null, 60]]);
  });
});

describe("loading", () => {
  afterEach(() => vi.unstubAllGlobals());
  const answer = (body: Telemetry) => new Response(JSON.stringify(body), { status: 200 });
  it("follows the pages and asks for what is new only", async () => {
    const asked: string[] = [];
    const pages = [page([1000, 6000], 11_000), page([11_000])];
    vi.stubGlobal("fetch", (url: string) => {
      asked.push(new URL(url, "http://x").searchParams.get("from_ms") ?? "");
      return Promise.resolve(answer(pages.shift() ?? page([])));
    });
    const history = await loadHistory("alpha", "m-01", ["power_w_mean"], 500, null, new AbortController().signal);
    expect(history.at_ms).toEqual([1000, 6000, 11_000]);
    await loadHistory("alpha", "m-01", ["power_w_mean"], 500, history, new AbortController().signal);
    expect(asked).toEqual(["500", "11000", "11001"]);
  });
  it("ends even when the pages never do", async () => {
    let calls = 0;
    vi.stubGlobal("fetch", () => {
      calls += 1;
      return Promise.resolve(answer(page([calls], calls + 1)));
    });
    await loadHistory("alpha", "m-01", ["power_w_mean"], 0, null, new AbortController().signal);
    expect(calls).toBe(12);
  });
});
