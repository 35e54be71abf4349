import { describe, expect, it } from "vitest";
import { anomalyRatio, cellOf, fillOf, FILLS, gridOf, lookOf, step, topOf } from "./heat";
import { aDevice } from "./sample";

const chip = fillOf("chip");
const anomaly = (score: number) => ({ score, threshold: 1, at_ms: 0, top_feature: null, model: null, version: null });
const cell = (changes: Parameters<typeof aDevice>[0], now_ms = 0) => cellOf(aDevice(changes), chip, 90, now_ms, 30);

describe("fills", () => {
  it("fall back to the first for an unknown word in the address", () => expect(fillOf("nonsense")).toBe(FILLS[0]));
  it("know hashrate only against a nominal one", () => {
    const hash = fillOf("hash");
    expect(hash.value(aDevice({ latest: { hashrate_ths_mean: 52, hashrate_nominal_ths_last: 104 } }))).toBe(50);
    expect(hash.value(aDevice({ latest: { hashrate_ths_mean: 52, hashrate_nominal_ths_last: null } }))).toBeNull();
  });
  it("scale power by what is there", () => {
    const power = fillOf("power");
    expect(topOf(power, [aDevice({ latest: { power_w_mean: 3531 } })])).toBe(4);
    expect(topOf(power, [])).toBe(1);
    expect(topOf(chip, [])).toBe(90);
  });
  it("relate a score to its threshold", () => {
    expect(anomalyRatio({ anomaly: anomaly(1.5) })).toBe(1.5);
    expect(anomalyRatio({ anomaly: null })).toBeNull();
    expect(anomalyRatio({ anomaly: { ...anomaly(1.5), threshold: 0 } })).toBeNull();
  });
});

describe("cells", () => {
  it("show a number only while it is fresh", () => {
    expect(cell({ latest: { chip_temp_max_c_max: 70 } })).toMatchObject({ text: "70", share: 0.5, stale: false });
    expect(cell({ latest: { chip_temp_max_c_max: 70 } }, 31_000)).toMatchObject({ text: "?", share: null, stale: true });
    expect(cell({ fresh_ms: null })).toMatchObject({ text: "?", share: null, stale: true });
    expect(cell({ latest: { chip_temp_max_c_max: null } })).toMatchObject({ text: "?", share: null, stale: false });
  });
  it("do not call a miner odd by an old score", () => {
    const odd = (now_ms: number) => cellOf(aDevice({ anomaly: anomaly(2), fresh_ms: now_ms }), chip, 90, now_ms, 30).odd;
    expect(odd(150_000)).toBe(true);
    expect(odd(150_001)).toBe(false);
    const scores = (now_ms: number) => cellOf(aDevice({ anomaly: anomaly(2), fresh_ms: now_ms }), fillOf("anomaly"), 2, now_ms, 30).text;
    expect([scores(0), scores(150_001)]).toEqual(["2.0", "?"]);
  });
  it("show the most telling state", () => {
    expect(lookOf(cell({ state: "failure", anomaly: anomaly(2), inhibited: "x" })).look).toBe("failed");
    expect(lookOf(cell({ state: "stopped", inhibited: "x" }))).toEqual({ look: "stopped", sign: "■" });
    expect(lookOf(cell({ anomaly: anomaly(2), inhibited: "x" })).look).toBe("odd");
    expect(lookOf(cell({ inhibited: "x" })).look).toBe("inhibited");
    expect(lookOf(cell({ state: "starting" })).look).toBe("settling");
    expect(lookOf(cell({ state: null })).look).toBe("unknown");
    expect(lookOf(cell({ state: "mining" }, 60_000))).toEqual({ look: "stale", sign: "" });
  });
});

describe("the grid", () => {
  const at = (rack: string | null, slot: number | null, id = `${rack}${slot}`) => aDevice({ id, rack, slot });
  const grid = gridOf([at("B", 3), at("A", 1), at("A", 4), at("A10", 2), at(null, null, "loose"), at("A", 1, "twin")]);
  it("orders racks as people count", () => {
    expect(grid.racks).toEqual(["A", "A10", "B"]);
    expect(grid.slots).toEqual([1, 2, 3, 4]);
    expect(grid.loose.map((device) => device.id)).toEqual(["loose", "twin"]);
  });
  it("is empty without miners", () => expect(gridOf([])).toMatchObject({ racks: [], slots: [] }));
  it("moves over empty slots and stays at the edge", () => {
    expect(step(grid, { row: 0, column: 0 }, "ArrowRight")).toEqual({ row: 0, column: 3 });
    expect(step(grid, { row: 0, column: 3 }, "ArrowRight")).toBeNull();
    expect(step(grid, { row: 0, column: 3 }, "Home")).toEqual({ row: 0, column: 0 });
    expect(step(grid, { row: 0, column: 0 }, "End")).toEqual({ row: 0, column: 3 });
    expect(step(grid, { row: 0, column: 2 }, "ArrowDown")).toEqual({ row: 2, column: 2 });
    expect(step(grid, { row: 0, column: 0 }, "ArrowDown")).toBeNull();
    expect(step(grid, { row: 2, column: 2 }, "ArrowUp")).toBeNull();
    expect(step(grid, { row: 0, column: 0 }, "x")).toBeNull();
  });
});
