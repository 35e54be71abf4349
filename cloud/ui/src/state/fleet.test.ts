import { describe, expect, it } from "vitest";
import type { CommandView, LiveMessage, Order, RolloutStep } from "../api/types";
import { ageOf, EMPTY, isStale, MAX_EVENTS, mergeEvents, openAlarms, reduce, sortAlarms, staleAfter, withCommand } from "./fleet";
import { aDevice, anAlarm, anEvent, aSite } from "./sample";

const SNAPSHOT: LiveMessage = {
  type: "snapshot",
  body: {
    sites: [aSite({ data_age_s: 4 })], devices: { alpha: [aDevice(), aDevice({ id: "m-02", data_age_s: null })] },
    alarms: [anAlarm()], events: [anEvent("e1", 1), anEvent("e2", 2)],
  },
};
const NOW = 100_000;
const start = reduce(EMPTY, SNAPSHOT, NOW);

describe("the reducer", () => {
  it("knows nothing before the first snapshot", () => expect(EMPTY.loaded).toBe(false));
  it("takes a snapshot whole", () => {
    expect(start.loaded).toBe(true);
    expect([...start.sites.keys()]).toEqual(["alpha"]);
    expect([...(start.devices.get("alpha")?.keys() ?? [])]).toEqual(["m-01", "m-02"]);
    expect(start.events.map((event) => event.id)).toEqual(["e2", "e1"]);
  });
  it("a second snapshot forgets what is gone", () => {
    const again = reduce(start, { type: "snapshot", body: { sites: [], devices: {}, alarms: [], events: [] } }, NOW);
    expect(again.sites.size + again.devices.size + again.alarms.size + again.events.length).toBe(0);
  });
  it("lets ages grow while nothing arrives", () => {
    const site = start.sites.get("alpha");
    expect(site && ageOf(site, NOW + 6000)).toBe(10);
    expect(site && ageOf(site, NOW - 60_000)).toBe(0);
  });
  it("replaces sites and devices, and leaves the others and the old value alone", () => {
    const next = reduce(start, { type: "devices", body: { site: "alpha", items: [aDevice({ state: "stopped" })] } }, NOW);
    expect(next.devices.get("alpha")?.get("m-01")?.state).toBe("stopped");
    expect(next.devices.get("alpha")?.has("m-02")).toBe(true);
    expect(start.devices.get("alpha")?.get("m-01")?.state).toBe("mining");
    expect(reduce(start, { type: "site", body: aSite({ name: "New" }) }, NOW).sites.get("alpha")?.name).toBe("New");
  });
  it("an answer that the stream has overtaken does not take a command's last words away", () => {
    const step = (state: string): RolloutStep => ({ state, at_ms: 1, detail: "" });
    const sent: CommandView = {
      id: "c1", site: "alpha", actor: "Ada", order: { do: "cancel" } as unknown as Order, issued_ms: 0, expires_ms: 1,
      source: "cloud", key: "k", state: "sent", detail: "", outcome: null, writes: [], history: [step("sent")],
    };
    const done: CommandView = { ...sent, state: "done", history: [step("sent"), step("done")] };
    const later = withCommand(reduce(start, { type: "command", body: done }, NOW), sent);
    expect(later.commands.get("c1")?.state).toBe("done");
    expect(withCommand(withCommand(start, sent), done).commands.get("c1")?.state).toBe("done");
  });
  it("closes an alarm by its own message", () => {
    expect(openAlarms(start)).toHaveLength(1);
    expect(openAlarms(reduce(start, { type: "alarm", body: anAlarm({ cleared_ms: 5 }) }, NOW))).toHaveLength(0);
  });
  it("counts what the models screen must load again", () => {
    expect(reduce(start, { type: "rollout", body: {} }, NOW).model_changes).toBe(start.model_changes + 1);
    expect(reduce(start, { type: "model", body: {} }, NOW).model_changes).toBe(start.model_changes + 1);
  });
});

describe("events", () => {
  it("come once, newest first, and never without bound", () => {
    expect(mergeEvents([anEvent("a", 1)], [anEvent("b", 2), anEvent("a", 1)]).map((event) => event.id)).toEqual(["b", "a"]);
    const many = Array.from({ length: MAX_EVENTS + 50 }, (_, i) => anEvent(`e${i}`, i));
    const kept = mergeEvents([], many);
    expect(kept).toHaveLength(MAX_EVENTS);
    expect(kept[0]?.at_ms).toBe(MAX_EVENTS + 49);
  });
});

describe("staleness", () => {
  it("is three steps and slack, as in the cloud", () => {
    expect(staleAfter({ step_s: 5 })).toBe(30);
    expect(staleAfter({ step_s: null })).toBe(195);
    expect(staleAfter(undefined)).toBe(195);
  });
  it("no data at all is stale", () => {
    expect(isStale({ fresh_ms: null }, NOW, 30)).toBe(true);
    expect(isStale({ fresh_ms: NOW - 30_000 }, NOW, 30)).toBe(false);
    expect(isStale({ fresh_ms: NOW - 30_001 }, NOW, 30)).toBe(true);
  });
});

describe("alarms", () => {
  it("open first, then by severity, then newest", () => {
    const ids = sortAlarms([
      anAlarm({ id: "old-low", opened_ms: 1 }), anAlarm({ id: "new-low", opened_ms: 2 }), anAlarm({ id: "cleared", severity: "urgent", cleared_ms: 9 }),
      anAlarm({ id: "urgent", severity: "urgent" }), anAlarm({ id: "high", severity: "high" }),
    ]).map((alarm) => alarm.id);
    expect(ids).toEqual(["urgent", "high", "new-low", "old-low", "cleared"]);
  });
});
