/** A model's metrics beside its baseline's and the present champion's, whatever way they are named. */

import { three } from "../format/numbers";
import { sentence } from "../format/words";

export interface MetricRow {
  readonly name: string;
  readonly value: number | null;
  readonly baseline: number | null;
  readonly champion: number | null;
}

const number = (value: unknown): number | null => (typeof value === "number" && Number.isFinite(value) ? value : null);

/** `auc`, `baseline_auc` or `auc_baseline`, or nested `{baseline: {auc}}`: one row per metric. */
export function metricRows(metrics: Readonly<Record<string, unknown>>): MetricRow[] {
  const rows = new Map<string, { value: number | null; baseline: number | null; champion: number | null }>();
  const put = (name: string, part: "value" | "baseline" | "champion", value: unknown): void => {
    const row = rows.get(name) ?? { value: null, baseline: null, champion: null };
    row[part] = number(value);
    rows.set(name, row);
  };
  for (const [key, value] of Object.entries(metrics)) {
    const beside = /^(baseline|champion)[_.](.+)$|^(.+)[_.](baseline|champion)$/.exec(key);
    if (value !== null && typeof value === "object") {
      const part = key === "baseline" || key === "champion" ? key : "value";
      for (const [name, inner] of Object.entries(value)) put(name, part, inner);
    } else if (beside) {
      put((beside[2] ?? beside[3]) as string, (beside[1] ?? beside[4]) as "baseline" | "champion", value);
    } else {
      put(key, "value", value);
    }
  }
  return [...rows].map(([name, row]) => ({ name, ...row })).sort((a, b) => a.name.localeCompare(b.name));
}

/** Names of the gate's own metrics (`cloud.training.gates`); others are shown by their key. */
const NAMES: Readonly<Record<string, string>> = {
  synthetic_ap: "Average precision, synthetic faults",
  alarm_rate: "Alarm rate on normal data",
  synthetic_detected: "Synthetic faults detected",
  latency_128_ms: "Latency for 128 miners, ms",
  parity_max: "Largest difference to ONNX",
  size_bytes: "Size, bytes",
  train_s: "Training time, s",
};

export function metricName(key: string): string {
  const detected = /^synthetic_detected_(.+)$/.exec(key);
  return NAMES[key] ?? (detected?.[1] ? `… ${sentence(detected[1]).toLowerCase()}` : sentence(key));
}

/** Three digits; what is very small keeps its size (3.2e-6) instead of a row of zeros. */
export function metricText(value: number): string {
  if (value === 0 || (Number.isInteger(value) && Math.abs(value) < 1e6)) return String(value);
  const size = Math.abs(value);
  if (size < 1e-3) return value.toExponential(1);
  return size >= 1 ? three(value) : value.toPrecision(3);
}

/** The way of a model to a site, in order. */
export const STAGES = ["published", "downloaded", "verified", "shadow", "active"] as const;

/** How far along a report is; -1 for what is off that way (rolled back, refused, withdrawn). */
export function stageIndex(state: string): number {
  return (STAGES as readonly string[]).indexOf(state);
}

/** The furthest stage ever reported, so that a refusal still shows how far it came; -1 before any. */
export function furthest(states: readonly string[]): number {
  return Math.max(-1, ...states.map(stageIndex));
}
