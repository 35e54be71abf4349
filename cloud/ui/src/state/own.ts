/** A machine's own record beside what was measured: on the times of the measurement, and in its holes. Pure. */

import type { OwnPoint } from "../api/identity";
import { known } from "../format/numbers";

export type OwnColumn = "hashrate_ths" | "power_w" | "chip_temp_max_c" | "board_temp_max_c" | "fan_duty_pct";

/** Which column of a row the machine's own number belongs beside. */
export const OWN_OF: Readonly<Record<string, OwnColumn>> = {
  hashrate_ths_mean: "hashrate_ths",
  power_w_mean: "power_w",
  chip_temp_max_c_max: "chip_temp_max_c",
  fan_duty_pct_mean: "fan_duty_pct",
};

/** Two of its records further apart than this are not joined. */
const APART_S = 1800;
/** A record this near to a measured time gets no row of its own. */
const NEAR_S = 45;

export interface Joined {
  readonly at_s: readonly number[];
  readonly values: readonly (readonly (number | null)[])[];
  readonly own: Readonly<Record<OwnColumn, readonly (number | null)[]>>;
}

const COLUMNS: readonly OwnColumn[] = ["hashrate_ths", "power_w", "chip_temp_max_c", "board_temp_max_c", "fan_duty_pct"];

/** `at_s` and `values` with rows added where only the machine recorded; `own` on the same times. */
export function join(at_s: readonly number[], values: readonly (readonly (number | null)[])[], points: readonly OwnPoint[]): Joined {
  const records = points.filter((point) => COLUMNS.some((name) => known(point[name]))).toSorted((a, b) => a.at_ms - b.at_ms);
  const times: number[] = [];
  const from: number[] = [];
  let i = 0;
  for (const record of records) {
    const at = record.at_ms / 1000;
    while (i < at_s.length && (at_s[i] as number) < at) push(i++);
    const before = times[times.length - 1];
    const next = at_s[i];
    if ((before === undefined || at - before > NEAR_S) && (next === undefined || next - at > NEAR_S)) {
      times.push(at);
      from.push(-1);
    }
  }
  while (i < at_s.length) push(i++);
  function push(index: number): void {
    times.push(at_s[index] as number);
    from.push(index);
  }
  return {
    at_s: times,
    values: values.map((row) => from.map((index) => (index < 0 ? null : (row[index] ?? null)))),
    own: Object.fromEntries(COLUMNS.map((name) => [name, along(times, records, name)])) as Record<OwnColumn, (number | null)[]>,
  };
}

/** The record at each time, straight between two that are near enough; null outside of them. */
function along(times: readonly number[], records: readonly OwnPoint[], name: OwnColumn): (number | null)[] {
  const told = records.filter((point) => known(point[name]));
  let next = 0;
  return times.map((at) => {
    while (next < told.length && (told[next] as OwnPoint).at_ms / 1000 < at) next += 1;
    const after = told[next];
    const before = told[next - 1];
    if (after !== undefined && after.at_ms / 1000 === at) return after[name];
    if (before === undefined || after === undefined || (after.at_ms - before.at_ms) / 1000 > APART_S) return null;
    const share = (at - before.at_ms / 1000) / ((after.at_ms - before.at_ms) / 1000);
    const low = before[name] as number;
    return low + ((after[name] as number) - low) * share;
  });
}
