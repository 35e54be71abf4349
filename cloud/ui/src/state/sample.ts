/** Small makers of sites, devices and alarms for the tests. */

import type { AlarmView, EventView } from "../api/types";
import type { Device, Site } from "./fleet";

export function aSite(changes: Partial<Site> = {}): Site {
  return {
    id: "alpha", name: "Alpha", online: true, last_seen_ms: 0, data_age_s: 0, simulated: false, power_w: null, miners_power_w: null,
    algorithms: {}, miners_total: 0, miners_hashing: 0, miners_fresh: 0, open_alarms: 0, urgent_alarms: 0, zones: [], model: null, step_s: 5,
    fresh_ms: 0, ...changes,
  };
}

export function aDevice(changes: Partial<Device> = {}): Device {
  return {
    id: "m-01", site: "alpha", kind: "miner", adapter: "vnish", zone: "hall-a", rack: "A", slot: 1, model: "s19jpro", algorithm: "sha256d",
    host: "127.0.0.1", nominal_w: 3068, data_age_s: 0, at_ms: 0, state: "mining", preset: "3068", quality: 0, samples: 3, failed: 0,
    inhibited: null, latest: {}, anomaly: null, fresh_ms: 0, ...changes,
  };
}

export function anAlarm(changes: Partial<AlarmView> = {}): AlarmView {
  return {
    id: "a", site: "alpha", key: "k", kind: "alarm", severity: "low", title: "t", advice: "", zone: null, device: null, opened_ms: 0, last_ms: 0,
    cleared_ms: null, acknowledged_ms: null, acknowledged_by: null, note: null, count: 1, data: {}, ...changes,
  };
}

export function anEvent(id: string, at_ms: number): EventView {
  return { id, site: "alpha", kind: "mode", severity: "low", key: "k", at_ms, title: id, advice: "", zone: null, device: null, data: {} };
}
