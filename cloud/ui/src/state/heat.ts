/** The heat map's sums: which cell stands where, what fills it, and where the arrow keys go. Pure. */

import { known, num, percent } from "../format/numbers";
import { share } from "../format/ramp";
import { stateWords, type StateWords } from "../format/words";
import { isStale, type Device } from "./fleet";

export type Fill = "chip" | "hash" | "power" | "anomaly";

export interface FillAbout {
  readonly id: Fill;
  readonly label: string;
  readonly unit: string;
  /** Ends of the scale. Fixed where a colour should mean the same every day; null = from what is there. */
  readonly low: number;
  readonly high: number | null;
  readonly digits: number;
  readonly value: (device: Device) => number | null;
}

const latest = (name: string) => (device: Device): number | null => device.latest[name] ?? null;

/**
 * A steady miner's score comes every twelfth step only, one that does not run is not scored at all: past
 * five times the age at which a row is stale, a score says nothing about now.
 */
const SCORE_STALE = 5;

export function scoreIsOld(device: Pick<Device, "anomaly">, now_ms: number, stale_s: number): boolean {
  const at_ms = device.anomaly?.at_ms ?? null;
  return at_ms === null || now_ms - at_ms > SCORE_STALE * stale_s * 1000;
}

/** Score over threshold: 1 is where an alarm begins. */
export function anomalyRatio(device: Pick<Device, "anomaly">): number | null {
  const { score, threshold } = device.anomaly ?? { score: null, threshold: null };
  return known(score) && known(threshold) && threshold > 0 ? score / threshold : null;
}

export const FILLS: readonly FillAbout[] = [
  { id: "chip", label: "Chip temperature", unit: "°C", low: 50, high: 90, digits: 0, value: latest("chip_temp_max_c_max") },
  {
    id: "hash", label: "Hashrate, % of nominal", unit: "%", low: 0, high: 110, digits: 0,
    value: (device) => percent(device.latest["hashrate_ths_mean"], device.latest["hashrate_nominal_ths_last"]),
  },
  {
    id: "power", label: "Power", unit: "kW", low: 0, high: null, digits: 1,
    value: (device) => (known(device.latest["power_w_mean"]) ? (device.latest["power_w_mean"] as number) / 1000 : null),
  },
  { id: "anomaly", label: "Anomaly, score ÷ threshold", unit: "×", low: 0, high: 1.5, digits: 1, value: anomalyRatio },
];

export function fillOf(word: string | undefined): FillAbout {
  return FILLS.find((fill) => fill.id === word) ?? (FILLS[0] as FillAbout);
}

/** The upper end of the scale: the fixed one, or the next whole step above the largest value. */
export function topOf(fill: FillAbout, devices: readonly Device[]): number {
  if (fill.high !== null) return fill.high;
  const values = devices.map(fill.value).filter(known);
  return Math.max(1, Math.ceil(Math.max(0, ...values)));
}

export interface Cell {
  readonly device: Device;
  readonly value: number | null;
  readonly text: string;
  /** 0..1 on the ramp, or null: drawn hatched. */
  readonly share: number | null;
  readonly stale: boolean;
  readonly state: StateWords;
  readonly inhibited: string | null;
  readonly odd: boolean;
}

export function cellOf(device: Device, fill: FillAbout, top: number, now_ms: number, stale_s: number): Cell {
  const stale = isStale(device, now_ms, stale_s);
  const old = scoreIsOld(device, now_ms, stale_s);
  const value = fill.id === "anomaly" && old ? null : fill.value(device);
  const ratio = old ? null : anomalyRatio(device);
  return {
    device,
    value,
    // A stale number stays readable in the detail line, but a cell never shows it as the present.
    text: stale || value === null ? "?" : num(value, fill.digits),
    share: stale ? null : share(value, fill.low, top),
    stale,
    state: stateWords(device.state),
    inhibited: device.inhibited,
    odd: !stale && ratio !== null && ratio > 1,
  };
}

/**
 * Border and corner sign of a cell, one at a time, the most telling first: a miner that does not run, then
 * one that is odd, then one that may not be raised. A stale cell claims no state at all.
 */
export function lookOf(cell: Cell): { readonly look: string; readonly sign: string } {
  if (cell.stale) return { look: "stale", sign: "" };
  const { look, sign } = cell.state;
  if (look === "failed" || look === "stopped") return { look, sign };
  if (cell.odd) return { look: "odd", sign: "▲" };
  if (cell.inhibited !== null && look !== "unknown") return { look: "inhibited", sign: "!" };
  return { look, sign };
}

export interface Grid {
  readonly racks: readonly string[];
  readonly slots: readonly number[];
  /** By rack, then slot; undefined where nothing stands. */
  readonly at: ReadonlyMap<string, ReadonlyMap<number, Device>>;
  /** Miners without a place. */
  readonly loose: readonly Device[];
}

const inOrder = new Intl.Collator("en", { numeric: true }).compare;

export function gridOf(miners: readonly Device[]): Grid {
  const at = new Map<string, Map<number, Device>>();
  const loose: Device[] = [];
  let low = Infinity;
  let high = -Infinity;
  for (const miner of miners) {
    const row = miner.rack === null || miner.slot === null ? null : (at.get(miner.rack) ?? new Map<number, Device>());
    if (row === null || row.has(miner.slot as number)) {
      loose.push(miner);
      continue;
    }
    row.set(miner.slot as number, miner);
    at.set(miner.rack as string, row);
    low = Math.min(low, miner.slot as number);
    high = Math.max(high, miner.slot as number);
  }
  const slots = at.size ? Array.from({ length: high - low + 1 }, (_, i) => low + i) : [];
  return { racks: [...at.keys()].sort(inOrder), slots, at, loose: loose.sort((a, b) => inOrder(a.id, b.id)) };
}

export interface Place {
  readonly row: number;
  readonly column: number;
}

/** Where an arrow key, Home or End leads, over empty slots to the next miner; null = stay. */
export function step(grid: Grid, from: Place, key: string): Place | null {
  const has = (row: number, column: number): boolean => {
    const rack = grid.racks[row];
    const slot = grid.slots[column];
    return rack !== undefined && slot !== undefined && grid.at.get(rack)?.has(slot) === true;
  };
  const walk = (row: number, column: number, dRow: number, dColumn: number): Place | null => {
    for (; row >= 0 && row < grid.racks.length && column >= 0 && column < grid.slots.length; row += dRow, column += dColumn) {
      if (has(row, column)) return { row, column };
    }
    return null;
  };
  const { row, column } = from;
  switch (key) {
    case "ArrowRight": return walk(row, column + 1, 0, 1);
    case "ArrowLeft": return walk(row, column - 1, 0, -1);
    case "ArrowDown": return walk(row + 1, column, 1, 0);
    case "ArrowUp": return walk(row - 1, column, -1, 0);
    case "Home": return walk(row, 0, 0, 1);
    case "End": return walk(row, grid.slots.length - 1, 0, -1);
    default: return null;
  }
}
