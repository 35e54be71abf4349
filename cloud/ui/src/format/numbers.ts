/** Numbers as people read them. Unknown is "—", never 0. */

export const UNKNOWN = "—";

type Maybe = number | null | undefined;

export function known(value: Maybe): value is number {
  return typeof value === "number" && Number.isFinite(value);
}

/** Fixed number of decimals, or the unknown sign. */
export function num(value: Maybe, digits = 0): string {
  return known(value) ? value.toFixed(digits) : UNKNOWN;
}

/** Three significant digits, without an exponent in the range that people meet. */
export function three(value: number): string {
  const size = Math.abs(value);
  if (size >= 100) return value.toFixed(0);
  if (size >= 10) return value.toFixed(1);
  return value.toFixed(2);
}

interface Scale {
  readonly over: number;
  readonly unit: string;
}

function scaled(value: Maybe, scales: readonly Scale[], zeroUnit: string): string {
  if (!known(value)) return UNKNOWN;
  const size = Math.abs(value);
  const scale = scales.find(({ over }) => size >= over) ?? scales[scales.length - 1];
  if (scale === undefined || value === 0) return `0 ${zeroUnit}`;
  return `${three(value / scale.over)} ${scale.unit}`;
}

const WATT: readonly Scale[] = [{ over: 1e9, unit: "GW" }, { over: 1e6, unit: "MW" }, { over: 1e3, unit: "kW" }, { over: 1, unit: "W" }];
const SHA: readonly Scale[] = [{ over: 1e6, unit: "EH/s" }, { over: 1e3, unit: "PH/s" }, { over: 1, unit: "TH/s" }];
const SCRYPT: readonly Scale[] = [{ over: 1e3, unit: "PH/s" }, { over: 1, unit: "TH/s" }, { over: 1e-3, unit: "GH/s" }, { over: 1e-6, unit: "MH/s" }];

export function power(watts: Maybe): string {
  return scaled(watts, WATT, "W");
}

/** Scrypt machines do GH/s where SHA-256 machines do TH/s: each in the unit of its trade. */
export function hashrate(ths: Maybe, algorithm: string | null): string {
  return algorithm === "scrypt" ? scaled(ths, SCRYPT, "GH/s") : scaled(ths, SHA, "TH/s");
}

/** J/TH for SHA-256, J/GH for scrypt; the two are never added or compared. */
export function efficiency(joulePerTh: Maybe, algorithm: string | null): string {
  if (!known(joulePerTh)) return UNKNOWN;
  return algorithm === "scrypt" ? `${three(joulePerTh / 1000)} J/GH` : `${three(joulePerTh)} J/TH`;
}

export function algorithmName(algorithm: string | null): string {
  if (algorithm === "sha256d") return "SHA-256";
  if (algorithm === "scrypt") return "Scrypt";
  return algorithm ? `Algorithm ${algorithm}` : "Unknown algorithm";
}

/** "44/48"; where nothing fresh is known of any, "—/48" and not zero. */
export function hashingText(hashing: number, fresh: number, total: number): string {
  return `${fresh === 0 && total > 0 ? UNKNOWN : hashing}/${total}`;
}

/** Share in percent; null where either side is unknown or the whole is not positive. */
export function percent(part: Maybe, whole: Maybe): number | null {
  return known(part) && known(whole) && whole > 0 ? (100 * part) / whole : null;
}

export function bytes(size: Maybe): string {
  return scaled(size, [{ over: 1e6, unit: "MB" }, { over: 1e3, unit: "kB" }, { over: 1, unit: "B" }], "B");
}

/** Any plain value of an event's evidence. */
export function plain(value: unknown): string {
  if (value === null || value === undefined) return UNKNOWN;
  if (value === "") return "none";
  if (typeof value === "number") return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(5)));
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (typeof value === "string") return value;
  return JSON.stringify(value);
}
