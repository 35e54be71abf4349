/**
 * What the cloud's REST face (/api/v1) and its live stream say, word for word.
 *
 * Times are UTC milliseconds, units stand in the names, and `null` means *unknown*: it is never zero.
 */

export type Algorithm = "sha256d" | "scrypt" | "unknown";
export type Severity = "urgent" | "high" | "low";
export type ZoneMode = "manual" | "local-auto" | "ml-shadow" | "ml-active" | "safe" | "tripped";
export type Plain = string | number | boolean | null;
/** Evidence: plain words and numbers, sometimes nested by the cloud (writes of a command). */
export type Data = Readonly<Record<string, unknown>>;

export interface AlgorithmTotals {
  readonly hashrate_ths: number | null;
  readonly power_w: number | null;
  readonly j_per_th: number | null;
  readonly miners: number;
  readonly hashing: number;
}

export interface ZoneView {
  readonly id: string;
  readonly mode: ZoneMode | null;
  readonly cooling_proven: boolean | null;
  readonly tripped: boolean | null;
  readonly first_out: string | null;
  readonly inhibited: number | null;
  readonly restarting: boolean | null;
  /** When the guardian said so. */
  readonly at_ms: number | null;
}

export interface SiteModel {
  readonly name: string;
  readonly version: number;
  readonly stage: string;
  readonly algorithm: string | null;
}

export interface SiteSummary {
  readonly id: string;
  readonly name: string;
  readonly online: boolean;
  readonly last_seen_ms: number | null;
  readonly data_age_s: number | null;
  readonly simulated: boolean;
  /** From the site's meter; null where there is none or it is silent. */
  readonly power_w: number | null;
  /** Sum of what the miners' firmware estimates. */
  readonly miners_power_w: number | null;
  readonly algorithms: Readonly<Record<string, AlgorithmTotals>>;
  readonly miners_total: number;
  readonly miners_hashing: number;
  /** Miners with fresh data: of the others it is not known whether they hash. */
  readonly miners_fresh: number;
  readonly open_alarms: number;
  readonly urgent_alarms: number;
  readonly zones: readonly ZoneView[];
  readonly model: SiteModel | null;
  /** Step of the roll-up rows. */
  readonly step_s: number | null;
}

export interface Anomaly {
  readonly score: number | null;
  readonly threshold: number | null;
  readonly at_ms: number | null;
  /** Feature with the largest residual: the evidence. */
  readonly top_feature: string | null;
  readonly model: string | null;
  readonly version: number | null;
}

export interface DeviceView {
  readonly id: string;
  readonly site: string;
  readonly kind: string;
  readonly adapter: string | null;
  readonly zone: string | null;
  readonly rack: string | null;
  readonly slot: number | null;
  readonly model: string | null;
  readonly algorithm: Algorithm | null;
  readonly host: string | null;
  readonly nominal_w: number | null;
  readonly data_age_s: number | null;
  readonly at_ms: number | null;
  readonly state: string | null;
  readonly preset: string | null;
  readonly quality: number | null;
  readonly samples: number | null;
  readonly failed: number | null;
  /** Why nothing may be raised here, or null. */
  readonly inhibited: string | null;
  readonly latest: Readonly<Record<string, number | null>>;
  readonly anomaly: Anomaly | null;
}

export interface Telemetry {
  readonly device: string;
  readonly step_s: number | null;
  readonly columns: readonly string[];
  readonly at_ms: readonly number[];
  /** One list per column, in the order of `columns`. */
  readonly values: readonly (readonly (number | null)[])[];
  readonly next_from_ms: number | null;
}

export interface AlarmView {
  readonly id: string;
  readonly site: string;
  readonly key: string;
  readonly kind: string;
  readonly severity: Severity;
  readonly title: string;
  readonly advice: string;
  readonly zone: string | null;
  readonly device: string | null;
  readonly opened_ms: number;
  readonly last_ms: number;
  readonly cleared_ms: number | null;
  readonly acknowledged_ms: number | null;
  readonly acknowledged_by: string | null;
  readonly note: string | null;
  readonly count: number;
  readonly data: Data;
}

export interface EventView {
  readonly id: string;
  readonly site: string;
  readonly kind: string;
  readonly severity: Severity;
  readonly key: string;
  readonly at_ms: number;
  readonly title: string;
  readonly advice: string;
  readonly zone: string | null;
  readonly device: string | null;
  readonly data: Data;
}

export interface GateRule {
  readonly rule: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface ModelView {
  readonly name: string;
  readonly version: number;
  readonly algorithm: string;
  readonly family: string;
  /** Whose data it was trained on. */
  readonly site: string | null;
  readonly created_ms: number;
  readonly data_from_ms: number | null;
  readonly data_to_ms: number | null;
  readonly size: number;
  readonly sha256: string;
  readonly metrics: Readonly<Record<string, unknown>>;
  readonly gate: readonly GateRule[];
  readonly status: "rejected" | "registered" | "blessed";
  readonly thresholds: Readonly<Record<string, number>>;
}

export interface RolloutStep {
  readonly state: string;
  readonly at_ms: number;
  readonly detail: string;
}

export type Stage = "shadow" | "active" | "withdrawn";

export interface RolloutView {
  readonly site: string;
  readonly name: string;
  readonly version: number;
  /** What the cloud assigned; null where a site runs what this cloud never sent. */
  readonly stage: Stage | null;
  /** The site's newest assignment; the others are history. */
  readonly current: boolean;
  readonly reported: RolloutStep | null;
  readonly assigned_ms: number | null;
  readonly history: readonly RolloutStep[];
}

export interface TrainingView {
  readonly id: string;
  readonly site: string;
  readonly algorithms: readonly string[];
  readonly state: "queued" | "running" | "done" | "failed";
  readonly requested_ms: number;
  readonly started_ms: number | null;
  readonly ended_ms: number | null;
  readonly detail: string;
}

export type Action =
  | { readonly do: "set-preset"; readonly device: string; readonly preset: string }
  | { readonly do: "stop"; readonly device: string }
  | { readonly do: "start"; readonly device: string };

export type ActionsOrder = { readonly order: "actions"; readonly actions: readonly Action[] };
export type Curtail = { readonly order: "curtail"; readonly target_w: number; readonly deadline_s: number; readonly duration_s: number };

export type Order =
  | ActionsOrder
  | { readonly order: "safe-stop"; readonly zone: string | null }
  | Curtail
  | { readonly order: "power-cap"; readonly cap_w: number | null }
  | { readonly order: "schedule"; readonly start_ms: number; readonly end_ms: number; readonly what: Curtail | ActionsOrder }
  | { readonly order: "cancel"; readonly target: string }
  | { readonly order: "renew"; readonly target: string };

export interface WriteView {
  readonly action: Data;
  readonly result: string;
  readonly detail: string;
  readonly before?: string;
  readonly after?: string;
}

export interface CommandView {
  readonly id: string;
  readonly site: string;
  readonly actor: string;
  readonly order: Order;
  readonly issued_ms: number;
  readonly expires_ms: number;
  /** Who signed it: this cloud, or somebody with a key of his own. */
  readonly source: "cloud" | "third-party" | "operator";
  readonly key: string;
  readonly state: "sent" | "received" | "accepted" | "refused" | "running" | "done" | "expired";
  readonly detail: string;
  readonly outcome: string | null;
  readonly writes: readonly WriteView[];
  readonly history: readonly RolloutStep[];
}

export interface PreviewStep {
  readonly action: Data;
  readonly saves_w: number | null;
  /** The arbiter's word: narrowed or refused, and why. Empty: as asked. */
  readonly words: string;
}

/** What the site said an order would do at that moment. */
export interface Preview {
  readonly steps: readonly PreviewStep[];
  readonly total_steps: number;
  readonly refused: number;
  readonly now_w: number | null;
  readonly expected_w: number | null;
  readonly reaches_target: boolean | null;
  readonly takes_s: number | null;
  readonly detail: string;
}

export interface PlanView {
  readonly id: string;
  readonly site: string;
  readonly order: Order;
  readonly expires_ms: number;
  readonly state: "ready" | "blind" | "used" | "expired";
  readonly preview: Preview | null;
  readonly detail: string;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly next_cursor: string | null;
}

export interface Items<T> {
  readonly items: readonly T[];
}

/** First event of the live stream: all that the screens start from. */
export interface Snapshot {
  readonly sites: readonly SiteSummary[];
  readonly devices: Readonly<Record<string, readonly DeviceView[]>>;
  readonly alarms: readonly AlarmView[];
  readonly events: readonly EventView[];
}

export type LiveMessage =
  | { readonly type: "snapshot"; readonly body: Snapshot }
  | { readonly type: "site"; readonly body: SiteSummary }
  | { readonly type: "devices"; readonly body: { readonly site: string; readonly items: readonly DeviceView[] } }
  | { readonly type: "alarm"; readonly body: AlarmView }
  | { readonly type: "event"; readonly body: EventView }
  | { readonly type: "model"; readonly body: unknown }
  | { readonly type: "rollout"; readonly body: unknown }
  | { readonly type: "command"; readonly body: CommandView };
