/**
 * What the live stream has told so far, as one immutable value and a pure reducer.
 *
 * An age on arrival is turned into the moment that the data is from (`fresh_ms`), so that it keeps
 * growing while nothing arrives.
 */

import type { AlarmView, CommandView, DeviceView, EventView, LiveMessage, SiteSummary } from "../api/types";

/** The cloud's own rule (`cloud.devices.freshness`): three steps, and slack for a slow line. */
const STALE_STEPS = 3;
const SLACK_S = 15;
const DEFAULT_STEP_S = 60;
/** Rows kept for the log's live head; older ones come by page from REST. */
export const MAX_EVENTS = 300;

export interface Fresh {
  /** UTC ms of the newest data, or null where there never was any. */
  readonly fresh_ms: number | null;
}
export type Site = SiteSummary & Fresh;
export type Device = DeviceView & Fresh;

export interface Fleet {
  readonly sites: ReadonlyMap<string, Site>;
  readonly devices: ReadonlyMap<string, ReadonlyMap<string, Device>>;
  readonly alarms: ReadonlyMap<string, AlarmView>;
  /** Newest first, each once. */
  readonly events: readonly EventView[];
  /** Commands that changed while this page was open: newer than any list that was loaded. */
  readonly commands: ReadonlyMap<string, CommandView>;
  /** Counts `model` and `rollout` messages, so that their screen knows when to load again. */
  readonly model_changes: number;
  /** False until the first snapshot: "nothing known yet" is not "nothing there". */
  readonly loaded: boolean;
}

export const EMPTY: Fleet = {
  sites: new Map(),
  devices: new Map(),
  alarms: new Map(),
  events: [],
  commands: new Map(),
  model_changes: 0,
  loaded: false,
};

function freshMs(age_s: number | null, now_ms: number): number | null {
  return age_s === null ? null : now_ms - age_s * 1000;
}

export function agedSite(site: SiteSummary, now_ms: number): Site {
  return { ...site, fresh_ms: freshMs(site.data_age_s, now_ms) };
}

export function agedDevice(device: DeviceView, now_ms: number): Device {
  return { ...device, fresh_ms: freshMs(device.data_age_s, now_ms) };
}

function byId<T extends { readonly id: string }>(items: Iterable<T>): Map<string, T> {
  return new Map(Array.from(items, (item) => [item.id, item]));
}

/** Newest first, without repeats, at most `MAX_EVENTS`. */
export function mergeEvents(old: readonly EventView[], added: readonly EventView[]): EventView[] {
  const all = [...byId([...old, ...added]).values()];
  return all.sort((a, b) => b.at_ms - a.at_ms || (a.id < b.id ? 1 : -1)).slice(0, MAX_EVENTS);
}

/** With this view of a command, unless a later one is known: a REST answer and the stream may pass each other. */
export function withCommand(fleet: Fleet, command: CommandView): Fleet {
  const known = fleet.commands.get(command.id);
  if (known && known.history.length > command.history.length) return fleet;
  return { ...fleet, commands: new Map(fleet.commands).set(command.id, command) };
}

/** The state after one message; `now_ms` is when it arrived, in the cloud's time. */
export function reduce(fleet: Fleet, message: LiveMessage, now_ms: number): Fleet {
  switch (message.type) {
    case "snapshot": {
      const { sites, devices, alarms, events } = message.body;
      return {
        sites: byId(sites.map((site) => agedSite(site, now_ms))),
        devices: new Map(
          Object.entries(devices).map(([site, items]) => [site, byId(items.map((item) => agedDevice(item, now_ms)))]),
        ),
        alarms: byId(alarms),
        events: mergeEvents([], events),
        commands: fleet.commands,
        model_changes: fleet.model_changes + 1,
        loaded: true,
      };
    }
    case "site":
      return { ...fleet, sites: new Map(fleet.sites).set(message.body.id, agedSite(message.body, now_ms)) };
    case "devices": {
      const known = new Map(fleet.devices.get(message.body.site) ?? []);
      for (const item of message.body.items) known.set(item.id, agedDevice(item, now_ms));
      return { ...fleet, devices: new Map(fleet.devices).set(message.body.site, known) };
    }
    case "alarm":
      return { ...fleet, alarms: new Map(fleet.alarms).set(message.body.id, message.body) };
    case "event":
      return { ...fleet, events: mergeEvents(fleet.events, [message.body]) };
    case "command":
      return withCommand(fleet, message.body);
    case "model":
    case "rollout":
      return { ...fleet, model_changes: fleet.model_changes + 1 };
  }
}

/** Seconds without data after which a site's values are called stale. */
export function staleAfter(site: Pick<SiteSummary, "step_s"> | undefined): number {
  const step = site?.step_s;
  return STALE_STEPS * (step ?? DEFAULT_STEP_S) + SLACK_S;
}

/** Age in seconds, never negative; null where there never was data. */
export function ageOf(thing: Fresh, now_ms: number): number | null {
  return thing.fresh_ms === null ? null : Math.max(0, (now_ms - thing.fresh_ms) / 1000);
}

/** No data at all counts as stale: unknown is not fresh. */
export function isStale(thing: Fresh, now_ms: number, limit_s: number): boolean {
  const age = ageOf(thing, now_ms);
  return age === null || age > limit_s;
}

const RANK = { urgent: 0, high: 1, low: 2 } as const;

/** Open before cleared, urgent first, newest first. */
export function sortAlarms(alarms: Iterable<AlarmView>): AlarmView[] {
  return [...alarms].sort(
    (a, b) =>
      Number(a.cleared_ms !== null) - Number(b.cleared_ms !== null) ||
      RANK[a.severity] - RANK[b.severity] ||
      b.opened_ms - a.opened_ms,
  );
}

export function openAlarms(fleet: Fleet): AlarmView[] {
  return sortAlarms([...fleet.alarms.values()].filter((alarm) => alarm.cleared_ms === null));
}
