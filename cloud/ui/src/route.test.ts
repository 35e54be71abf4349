import { describe, expect, it } from "vitest";
import { href, parseRoute, toDevice } from "./route";

describe("addresses", () => {
  it.each([
    ["", { screen: "fleet", query: {} }],
    ["#/", { screen: "fleet", query: {} }],
    ["#/sites/alpha?fill=power", { screen: "site", site: "alpha", query: { fill: "power" } }],
    ["#/sites/a%20b/devices/m-01", { screen: "miner", site: "a b", device: "m-01", query: {} }],
    ["#/alarms?state=all&site=alpha", { screen: "alarms", query: { state: "all", site: "alpha" } }],
    ["#/log", { screen: "log", query: {} }],
    ["#/models", { screen: "models", query: {} }],
    ["#/access", { screen: "access", query: {} }],
  ])("%s", (hash, route) => expect(parseRoute(hash)).toEqual(route));
  it.each(["#/nowhere", "#/sites", "#/sites/a/b", "#/sites/a/devices", "#/alarms/7", "#/%E0%A4%A"])("%s is lost, not guessed", (hash) => {
    expect(parseRoute(hash).screen).toBe("lost");
  });
  it("are built as they are read", () => {
    expect(parseRoute(toDevice("a/b", "m 1"))).toMatchObject({ screen: "miner", site: "a/b", device: "m 1" });
    expect(href("/log", { kind: "action", device: null, site: "" })).toBe("#/log?kind=action");
  });
});
