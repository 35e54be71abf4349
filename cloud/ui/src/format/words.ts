/** The words of the wire, as an operator says them. */

import type { Severity, ZoneMode } from "../api/types";

export interface ModeWords {
  readonly label: string;
  readonly about: string;
  readonly tone: "good" | "info" | "warn" | "bad" | "unknown";
}

const MODES: Readonly<Record<ZoneMode, ModeWords>> = {
  "manual": { label: "Manual", tone: "info", about: "A person on site is in charge; automation proposes nothing." },
  "local-auto": { label: "Local auto", tone: "good", about: "The site's own rules are in charge; no model acts." },
  "ml-shadow": { label: "ML shadow", tone: "good", about: "The site's rules act; a model is watched beside them." },
  "ml-active": { label: "ML active", tone: "good", about: "The model proposes, the guardian bounds and decides." },
  "safe": { label: "Safe", tone: "warn", about: "Safe set-points, cooling on. After a safe stop it stays stopped until a person on site hands it back with ‘minewarden guardian mode’." },
  "tripped": { label: "Tripped", tone: "bad", about: "An interlock fired and is latched: only a person on site resets it." },
};

export function modeWords(mode: string | null): ModeWords {
  const words = mode === null ? undefined : MODES[mode as ZoneMode];
  return words ?? { label: mode ?? "Mode unknown", tone: "unknown", about: "The site has not said its mode yet." };
}

export interface StateWords {
  readonly label: string;
  /** How the heat map draws the border. */
  readonly look: "running" | "settling" | "stopped" | "failed" | "unknown";
  /** One sign for the corner of a cell, so that colour and line are not the only hints. */
  readonly sign: string;
}

const STATES: Readonly<Record<string, StateWords>> = {
  "mining": { label: "Mining", look: "running", sign: "" },
  "auto-tuning": { label: "Auto-tuning", look: "settling", sign: "~" },
  "initializing": { label: "Initializing", look: "settling", sign: "~" },
  "starting": { label: "Starting", look: "settling", sign: "~" },
  "restarting": { label: "Restarting", look: "settling", sign: "~" },
  "shutting-down": { label: "Shutting down", look: "settling", sign: "~" },
  "stopped": { label: "Stopped", look: "stopped", sign: "■" },
  "failure": { label: "Failure", look: "failed", sign: "✕" },
};

export function stateWords(state: string | null): StateWords {
  return (state === null ? undefined : STATES[state]) ?? { label: "State unknown", look: "unknown", sign: "?" };
}

/** Worst quality met in the row, by the number on the wire (`shared.telemetry.Quality`). */
const QUALITIES = ["Good", "Estimated by the firmware", "Out of range", "Stuck", "Stale", "Sensor error", "Missing"];

export function qualityWords(quality: number | null): string {
  return (quality === null ? undefined : QUALITIES[quality]) ?? "Unknown";
}

export const SEVERITY_SIGN: Readonly<Record<Severity, string>> = { urgent: "▲", high: "◆", low: "●" };
export const SEVERITY_LABEL: Readonly<Record<Severity, string>> = { urgent: "Urgent", high: "High", low: "Low" };

const KINDS: Readonly<Record<string, string>> = {
  "tripped": "Trip",
  "cleared": "Trip reset",
  "inhibited": "Inhibited",
  "released": "Released",
  "shed": "Shed",
  "action": "Decision",
  "refused": "Refused",
  "mode": "Mode",
  "alarm": "Alarm",
  "alarm-cleared": "Alarm cleared",
  "model": "Model",
  "store": "Store",
  "system": "System",
};

/** Every kind of event that a site can send, for the log's filter. */
export const EVENT_KINDS = Object.keys(KINDS);

export function kindWords(kind: string): string {
  return KINDS[kind] ?? sentence(kind);
}

const DEVICE_KINDS: Readonly<Record<string, string>> = {
  miner: "Miner", meter: "Power meter", drive: "Fan drive", hvac: "HVAC", probe: "Probe", contacts: "Contacts",
  pdu: "PDU", ups: "UPS",
};

export function deviceKind(kind: string): string {
  return DEVICE_KINDS[kind] ?? sentence(kind);
}

/** Features of the miner models (`shared.features.spec`), as the site's own alarms call them. */
const FEATURES: Readonly<Record<string, string>> = {
  hash_ratio: "Hashrate for its preset",
  hash_dip: "Depth of hashrate dips",
  hash_noise: "Unrest of the hashrate",
  power_ratio: "Power for its preset",
  power_noise: "Unrest of the power",
  efficiency_ratio: "Energy per hash for its preset",
  chip_hot_c: "Chip temperature for its preset",
  chip_rise_c: "Rise of the chip temperature",
  chip_over_board_c: "Chip above board temperature for its power",
  fan_effort: "Fan duty for its temperature",
  fan_response: "Fan speed for its duty",
  fan_weakest: "Speed of the slowest fan for its duty",
  fan_min_ratio: "Speed of the slowest fan against the others",
  fan_spread: "Difference between the fans",
  hw_error_root: "Count of hardware errors",
  reject_ratio: "Share of rejected work",
  missing: "Share of missing readings",
};

export function featureWords(feature: string): string {
  return FEATURES[feature] ?? sentence(feature);
}

/** `chip_temp_max_c` → "Chip temp max c": good enough for evidence that has no words of its own. */
export function sentence(word: string): string {
  const text = word.replace(/[_-]+/g, " ").trim();
  return text.charAt(0).toUpperCase() + text.slice(1);
}
