/** Roll-outs ring by ring, approvals and their words, as the cloud's REST face says them. */

export type CampaignState = "proposed" | "running" | "paused" | "halted" | "done";
export type CampaignStage = "shadow" | "active";
export type Standing =
  | "good" | "soaking" | "young" | "coming" | "silent" | "stuck" | "offline" | "taken" | "bad" | "not-yet" | "returning" | "returned";
export type CampaignOrder = "promote" | "rollback" | "pause" | "resume";

/** Rates and shares are fractions of 1. */
export interface Criteria {
  readonly min_agreement: number | null;
  readonly max_alarm_rate: number;
  readonly max_latency_p99_ms: number;
  readonly max_intervention_rise: number;
  readonly max_error_rate: number;
  readonly min_cycles: number;
  readonly min_reporting: number;
  readonly max_bad_share: number;
}

export interface Numbers {
  readonly agreement: number | null;
  readonly alarm_rate: number | null;
  readonly latency_p99_ms: number | null;
  readonly intervention_rate: number | null;
  readonly error_rate: number | null;
  readonly cycles: number | null;
}

export interface CampaignSite {
  readonly site: string;
  readonly stage: CampaignStage | null;
  readonly standing: Standing;
  readonly why: string;
  readonly said: string;
  readonly reached_ms: number | null;
  readonly heard_ms: number | null;
  /** When it will have been on its stage for long enough. */
  readonly soaked_ms: number | null;
  readonly worst: Numbers;
  readonly newest: Numbers | null;
  /** Version that it goes back to. */
  readonly before: number | null;
  readonly intervention_before: number | null;
}

export interface Ring {
  readonly number: number;
  readonly state: "done" | "open" | "not-yet";
  readonly soak_s: number;
  readonly needed: number;
  readonly good: number;
  readonly sites: readonly CampaignSite[];
}

export interface RecordStep {
  readonly at_ms: number;
  readonly campaign: string | null;
  readonly site: string | null;
  readonly actor: string;
  readonly what: string;
  readonly detail: string;
}

export interface ApprovalView {
  readonly id: string;
  readonly action: string;
  readonly campaign: string | null;
  readonly site: string | null;
  readonly asked_by: string;
  readonly asked_ms: number;
  readonly expires_ms: number;
  readonly reason: string;
  readonly state: "waiting" | "approved" | "refused" | "expired" | "void";
  readonly detail: string;
}

export interface CampaignView {
  readonly id: string;
  readonly name: string;
  readonly version: number;
  readonly state: CampaignState;
  /** Waiting alone may not help: a person should look. */
  readonly held: boolean;
  readonly why: string;
  /** From 0. */
  readonly ring: number;
  readonly stage: CampaignStage;
  readonly stages: readonly CampaignStage[];
  readonly entered_ms: number;
  readonly created_ms: number;
  readonly created_by: string;
  readonly ended_ms: number | null;
  readonly second_approver: boolean;
  readonly criteria: Criteria;
  readonly rings: readonly Ring[];
  readonly strangers: readonly string[];
  readonly approvals: readonly ApprovalView[];
  readonly history: readonly RecordStep[];
}

export interface CampaignRequest {
  readonly name: string;
  readonly version: number;
  readonly actor: string;
  readonly soak_s: number;
  readonly second_approver: boolean;
}
