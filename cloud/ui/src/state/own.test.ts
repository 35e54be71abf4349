import { describe, expect, it } from "vitest";
import type { OwnPoint } from "../api/identity";
import { join } from "./own";

const point = (at_s: number, power_w: number | null, changes: Partial<OwnPoint> = {}): OwnPoint => ({
  at_ms: at_s * 1000, hashrate_ths: null, power_w, chip_temp_max_c: null, board_temp_max_c: null, fan_duty_pct: null, mark: null, ...changes,
});

describe("a machine's own record", () => {
  it("fills the hole of the measurement with rows of its own and leaves the measurement as it was", () => {
    const joined = join([0, 60, 120, 1000, 1060], [[1, 2, null, 4, 5]], [point(60, 20), point(360, 30), point(660, 40), point(1060, 50)]);
    expect(joined.at_s).toEqual([0, 60, 120, 360, 660, 1000, 1060]);
    expect(joined.values).toEqual([[1, 2, null, null, null, 4, 5]]);
    expect(joined.own.power_w.map((value) => (value === null ? null : Math.round(value * 10) / 10))).toEqual([null, 20, 22, 30, 40, 48.5, 50]);
    expect(joined.own.hashrate_ths).toEqual(Array(7).fill(null));
  });
  it("is not joined over hours, and unknown stays unknown", () => {
    const joined = join([0, 5000], [[1, 2]], [point(0, 10), point(4000, 20), point(4500, null, { mark: "reboot" })]);
    expect(joined.at_s).toEqual([0, 4000, 5000]);
    expect(joined.own.power_w).toEqual([10, 20, null]);
  });
  it("changes nothing where there is none", () => {
    const joined = join([1, 2], [[3, null]], []);
    expect([joined.at_s, joined.values]).toEqual([[1, 2], [[3, null]]]);
  });
});
