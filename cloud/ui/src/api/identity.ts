/** Enrolments, certificates, and how well a site's data arrives, as the cloud's REST face says them. */

export interface Enrolment {
  readonly id: string;
  readonly site: string;
  /** Null until a person has typed it: only who stands at the gateway can read it out. */
  readonly fingerprint: string | null;
  readonly state: "waiting" | "issued" | "refused" | "expired";
  readonly asked_ms: number;
  readonly expires_ms: number;
  readonly replace: boolean;
  readonly site_has_certificate: boolean;
  readonly others_waiting: number;
  readonly decided_ms: number | null;
  readonly actor: string | null;
  readonly reason: string;
  readonly serial: string | null;
}

export interface Certificate {
  readonly serial: string;
  readonly name: string;
  readonly role: "site" | "ingest" | "command" | "broker" | "control";
  readonly sites: readonly string[];
  readonly fingerprint: string;
  readonly state: "live" | "expired" | "revoked";
  readonly how: string;
  readonly actor: string;
  readonly issued_ms: number;
  readonly not_after_ms: number;
  readonly days_left: number;
  readonly renewal_due: boolean;
  readonly superseded: boolean;
  readonly revoked_ms: number | null;
  readonly revoked_by: string | null;
  readonly reason: string;
  /** When the broker had cut off what was revoked; null: not yet. */
  readonly cut_ms: number | null;
}

export interface Identity {
  readonly enabled: boolean;
  readonly ca_fingerprint: string | null;
  readonly ca_not_after_ms: number | null;
  readonly waiting: number;
  readonly renewals: number;
  readonly refused_renewals: number;
  readonly broker: { readonly applied_ms: number | null; readonly trouble: string | null } | null;
}

/** One numbered sequence of batches; `gaps` are numbers that are not here although later ones are. */
export interface Stream {
  readonly epoch: string;
  readonly stream: string;
  readonly batches: number;
  readonly upto: number;
  readonly rows: number;
  readonly duplicate_batches: number;
  readonly tombstoned_rows: number;
  readonly quarantined_batches: number;
  readonly gaps: readonly (readonly [number, number])[];
}

export interface Ledger {
  readonly streams: readonly Stream[];
  readonly rows_in_store: number;
  readonly rows_apart: number;
}

export interface RawWindow {
  readonly id: number;
  readonly kind: string;
  readonly from_ms: number;
  readonly to_ms: number;
  readonly samples: number;
  readonly devices: readonly string[];
  readonly size: number;
  readonly received_ms: number;
}

export interface RawAsked {
  readonly id: string;
  readonly from_ms: number;
  readonly to_ms: number;
  readonly actor: string;
  readonly asked_ms: number;
  /** Whether the broker took it; null where that is not known. */
  readonly sent: boolean | null;
}

/** One moment as the machine itself recorded it. */
export interface OwnPoint {
  readonly at_ms: number;
  readonly hashrate_ths: number | null;
  readonly power_w: number | null;
  readonly chip_temp_max_c: number | null;
  readonly board_temp_max_c: number | null;
  readonly fan_duty_pct: number | null;
  readonly mark: string | null;
}
