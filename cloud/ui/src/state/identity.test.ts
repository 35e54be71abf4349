import { describe, expect, it } from "vitest";
import type { Certificate } from "../api/identity";
import { byNeed, daysWords, fingerprintProblem } from "./identity";

describe("a fingerprint", () => {
  it.each(["K7QM-2XF9-AB3D-W8HT", "k7qm 2xf9 ab3d w8ht", "K7QM2XF9AB3DW8HT"])("%s may be one", (text) => expect(fingerprintProblem(text)).toBeNull());
  it.each(["", "K7QM-2XF9", "K7QM-2XF9-AB3D-W8HT-0"])("%s is none", (text) => expect(fingerprintProblem(text)).toContain("16 letters and digits"));
});

describe("time left", () => {
  it.each([[null, "unknown"], [-1, "no time"], [0.5, "12 h"], [1.99, "47 h"], [2, "2 days"], [89.9, "89 days"]])("%s is %s", (days, words) => {
    expect(daysWords(days as number | null)).toBe(words);
  });
});

describe("certificates", () => {
  const one = (serial: string, changes: Partial<Certificate>): Certificate => ({
    serial, name: serial, role: "site", sites: [], fingerprint: "", state: "live", how: "", actor: "", issued_ms: 0, not_after_ms: 0,
    days_left: 1, renewal_due: false, superseded: false, revoked_ms: null, revoked_by: null, reason: "", cut_ms: null, ...changes,
  });
  it("come by need: what ends first, and what is not cut off yet, before what is over", () => {
    const [needed, past] = byNeed([
      one("late", { not_after_ms: 9 }),
      one("soon", { not_after_ms: 2 }),
      one("cutting", { state: "revoked", not_after_ms: 5 }),
      one("cut", { state: "revoked", cut_ms: 3, issued_ms: 1 }),
      one("old", { superseded: true, issued_ms: 2 }),
      one("expired", { state: "expired", issued_ms: 3 }),
    ]);
    expect(needed.map((it) => it.serial)).toEqual(["soon", "cutting", "late"]);
    expect(past.map((it) => it.serial)).toEqual(["expired", "old", "cut"]);
  });
});
