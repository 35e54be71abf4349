import { describe, expect, it } from "vitest";
import { ageWords, ago, iso, moment, span } from "./time";

describe("span", () => {
  it.each([
    [-3, "0 s"], [0, "0 s"], [59.9, "59 s"], [60, "1 min"], [200, "3 min 20 s"], [660, "11 min"], [3600, "1 h"], [7500, "2 h 5 min"],
    [86_400, "1 d"], [86_400 * 3 + 3600 * 4, "3 d 4 h"],
  ])("%d s", (seconds, text) => expect(span(seconds)).toBe(text));
});

describe("moments", () => {
  const noon = new Date(2026, 5, 1, 12, 0, 5).getTime();
  it("has a date only on another day", () => {
    expect(moment(noon, noon + 1000)).toBe("12:00:05");
    expect(moment(noon, noon + 86_400_000)).toBe("2026-06-01 12:00:05");
  });
  it("never lies about what is not known", () => {
    expect(moment(null, noon)).toBe("—");
    expect(ago(null, noon)).toBe("—");
    expect(ageWords(null)).toBe("no data yet");
    expect(iso(null)).toBe("unknown");
  });
  it("a moment slightly ahead is now", () => expect(ago(noon + 400, noon)).toBe("0 s ago"));
  it("tells UTC in tooltips", () => expect(iso(0)).toBe("1970-01-01T00:00:00Z"));
});
