import { describe, expect, it } from "vitest";
import type { EventView } from "../api/types";
import { grouped } from "./groups";
import { anEvent } from "./sample";

const stop = (n: number, changes: Partial<EventView> = {}): EventView => ({
  ...anEvent(`s${n}`, 100_000 - n), kind: "action", zone: "hall-a", device: `m-${n}`, title: `m-${n}: stop is applied`, ...changes,
});
const shape = (events: readonly EventView[]) => grouped(events).map((line) => ("events" in line ? `${line.events.length} × ${line.title}` : line.id));

describe("floods", () => {
  it("become one line, and what stands between them stays", () => {
    const trip = { ...anEvent("trip", 99_990), kind: "tripped" };
    expect(shape([stop(1), stop(2), stop(3), stop(4), stop(5), trip])).toEqual(["5 × stop is applied", "trip"]);
  });
  it("a few stay as they are", () => expect(shape([stop(1), stop(2), stop(3)])).toEqual(["s1", "s2", "s3"]));
  it("are of one zone, one saying and one time", () => {
    const four = (changes: Partial<EventView>) => [stop(1), stop(2), stop(3, changes), stop(4, changes)];
    expect(shape(four({ zone: "hall-b" }))).toHaveLength(4);
    expect(shape(four({ title: "other" }))).toHaveLength(4);
    expect(shape(four({ at_ms: 0 }))).toHaveLength(4);
    expect(shape(four({ advice: "look at it" }))).toHaveLength(4);
  });
  it("nothing is lost", () => {
    const events = [stop(1), stop(2), anEvent("x", 9), stop(4), stop(5), stop(6), stop(7)];
    expect(grouped(events).flatMap((line) => ("events" in line ? line.events : [line]))).toEqual(events);
  });
  it("an empty log is empty", () => expect(grouped([])).toEqual([]));
});
