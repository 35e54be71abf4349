/** The roll-up columns (`shared.telemetry.ROLLUP_COLUMNS`) as they are shown: name, unit, decimals. */

import { hashrate, known, num, power, UNKNOWN } from "./numbers";
import { sentence } from "./words";
import { span } from "./time";

interface Column {
  readonly label: string;
  readonly unit: string;
  readonly digits: number;
}

const column = (label: string, unit = "", digits = 0): Column => ({ label, unit, digits });

export const COLUMNS: Readonly<Record<string, Column>> = {
  hashrate_ths_mean: column("Hashrate", "TH/s", 1),
  hashrate_ths_min: column("Hashrate, lowest", "TH/s", 1),
  hashrate_ths_std: column("Hashrate, spread", "TH/s", 2),
  hashrate_nominal_ths_last: column("Hashrate, nominal", "TH/s", 1),
  power_w_mean: column("Power", "W"),
  power_w_max: column("Power, highest", "W"),
  power_w_std: column("Power, spread", "W"),
  chip_temp_max_c_mean: column("Hottest chip, mean", "°C", 1),
  chip_temp_max_c_max: column("Hottest chip", "°C", 1),
  board_temp_max_c_mean: column("Hottest board, mean", "°C", 1),
  board_temp_max_c_max: column("Hottest board", "°C", 1),
  psu_temp_c_max: column("Power supply", "°C", 1),
  fan_rpm_mean: column("Fans, mean", "rpm"),
  fan_rpm_min: column("Fans, slowest", "rpm"),
  fan_rpm_max: column("Fans, fastest", "rpm"),
  fan_duty_pct_mean: column("Fan duty", "%"),
  hw_errors_delta: column("Hardware errors in the step"),
  shares_accepted_delta: column("Shares accepted in the step"),
  shares_rejected_delta: column("Shares rejected in the step"),
  uptime_s_last: column("Up for"),
  preset_w_last: column("Preset's rated power", "W"),
  boards_working_min: column("Boards working"),
  air_temp_c_mean: column("Air", "°C", 1),
  air_temp_c_max: column("Air, highest", "°C", 1),
  humidity_pct_mean: column("Humidity", "%"),
  water_temp_c_max: column("Water", "°C", 1),
  speed_pct_min: column("Speed", "%"),
  speed_setpoint_pct_last: column("Speed set-point", "%"),
  setpoint_c_last: column("Set-point", "°C", 1),
  energy_kwh_last: column("Energy counter", "kWh"),
  voltage_v_mean: column("Voltage", "V", 1),
  current_a_max: column("Current, highest", "A", 1),
  running_min: column("Runs"),
  fault_max: column("Fault"),
  estop_pressed_max: column("Emergency stop"),
  door_open_max: column("Door"),
};

/** Contacts read as words: a bare 0 or 1 says nothing at 3 a.m. */
const FLAGS: Readonly<Record<string, readonly [string, string]>> = {
  running_min: ["stopped", "running"],
  fault_max: ["none", "FAULT"],
  estop_pressed_max: ["released", "PRESSED"],
  door_open_max: ["closed", "open"],
};

export function columnLabel(name: string): string {
  return COLUMNS[name]?.label ?? sentence(name);
}

export function columnValue(name: string, value: number | null | undefined, algorithm: string | null = null): string {
  if (!known(value)) return UNKNOWN;
  if (name === "hashrate_ths_mean" || name === "hashrate_nominal_ths_last" || name === "hashrate_ths_min" || name === "hashrate_ths_std") {
    return hashrate(value, algorithm);
  }
  if (name.startsWith("power_w") || name === "preset_w_last") return power(value);
  if (name === "uptime_s_last") return span(value);
  const flag = FLAGS[name];
  if (flag) return value > 0 ? flag[1] : flag[0];
  const about = COLUMNS[name];
  return about ? `${num(value, about.digits)} ${about.unit}`.trim() : num(value, 2);
}

/** What a device that is not a miner shows first. */
export const KEY_COLUMNS: Readonly<Record<string, readonly string[]>> = {
  meter: ["power_w_mean", "voltage_v_mean", "current_a_max", "energy_kwh_last"],
  drive: ["speed_pct_min", "speed_setpoint_pct_last", "running_min", "fault_max", "power_w_mean"],
  hvac: ["air_temp_c_mean", "setpoint_c_last", "speed_pct_min", "running_min", "fault_max"],
  probe: ["air_temp_c_mean", "air_temp_c_max", "humidity_pct_mean", "water_temp_c_max"],
  contacts: ["estop_pressed_max", "door_open_max"],
  pdu: ["power_w_mean", "voltage_v_mean", "current_a_max"],
  ups: ["power_w_mean", "voltage_v_mean"],
};
