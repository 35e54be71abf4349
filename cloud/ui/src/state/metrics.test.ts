import { describe, expect, it } from "vitest";
import { evidence } from "./evidence";
import { furthest, metricName, metricRows, metricText, stageIndex } from "./metrics";

describe("metrics", () => {
  it("stand beside their baseline and champion, however they are named", () => {
    const flat = metricRows({ ap: 0.95, ap_baseline: 0.86, champion_ap: 0.93, size: 3 });
    expect(flat).toEqual([
      { name: "ap", value: 0.95, baseline: 0.86, champion: 0.93 },
      { name: "size", value: 3, baseline: null, champion: null },
    ]);
    expect(metricRows({ baseline: { ap: 0.86 }, ap: 0.95 })).toEqual([{ name: "ap", value: 0.95, baseline: 0.86, champion: null }]);
  });
  it("a metric that is no number is unknown", () => expect(metricRows({ ap: "good" })[0]?.value).toBeNull());
  it("have names", () => {
    expect(metricName("synthetic_ap")).toContain("Average precision");
    expect(metricName("other_metric")).toBe("Other metric");
  });
  it("keep their size", () => expect([0, 1, 2878, 0.9437, 3.17e-6, 12.345].map(metricText)).toEqual(["0", "1", "2878", "0.944", "3.2e-6", "12.3"]));
  it("know how far a roll-out came before it was refused", () => {
    expect(furthest(["published", "downloaded", "refused"])).toBe(1);
    expect(furthest(["refused"])).toBe(-1);
    expect(stageIndex("active")).toBe(4);
  });
});

describe("evidence", () => {
  it("is told in the order of a decision", () => {
    const parts = evidence({ after: "2550", why: "odd", result: "applied", applied: "preset 2550", value_c: 84 });
    expect(parts.map((part) => part.title)).toEqual(["Proposal", "Verdict", "Writes", "Read-back", "Evidence"]);
    expect(parts[4]?.entries).toEqual([["value_c", 84]]);
  });
  it("leaves out what is not there", () => expect(evidence({ value: 1 }).map((part) => part.title)).toEqual(["Evidence"]));
});
