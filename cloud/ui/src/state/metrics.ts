/** A model's metrics beside its baseline's and the present champion's, whatever way they are named. */

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

/** The way of a model to a site, in order. */
export const STAGES = ["published", "downloaded", "verified", "shadow", "active"] as const;

/** How far along a report is; -1 for what is off that way (rolled back, refused, withdrawn). */
export function stageIndex(state: string): number {
  return (STAGES as readonly string[]).indexOf(state);
}
