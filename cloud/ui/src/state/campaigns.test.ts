import { expect, test } from "vitest";
import type { CampaignSite, CampaignView, Criteria, Standing } from "../api/campaigns";
import { advice, checks, headline, needsEye, place, share } from "./campaigns";

const CRITERIA: Criteria = {
  min_agreement: 0.95, max_alarm_rate: 0.05, max_latency_p99_ms: 500, max_intervention_rise: 0.02,
  max_error_rate: 0.05, min_cycles: 20, min_reporting: 0.9, max_bad_share: 0.1,
};

function site(changes: Partial<CampaignSite> = {}): CampaignSite {
  return {
    site: "alpha", stage: "shadow", standing: "good", why: "", said: "shadow", reached_ms: 1, heard_ms: 2, soaked_ms: 3,
    worst: { agreement: 0.99, alarm_rate: 0.01, latency_p99_ms: 12, intervention_rate: null, error_rate: 0, cycles: 50 },
    newest: null, before: 7, intervention_before: 0.1, ...changes,
  };
}

function campaign(changes: Partial<CampaignView> = {}, standing: Standing = "good"): CampaignView {
  return {
    id: "c", name: "miner-anomaly", version: 8, state: "running", held: false, why: "", ring: 0, stage: "shadow",
    stages: ["shadow", "active"], entered_ms: 0, created_ms: 0, created_by: "Ada", ended_ms: null, second_approver: false,
    criteria: CRITERIA, strangers: [], approvals: [], history: [],
    rings: [{ number: 1, state: "open", soak_s: 60, needed: 1, good: 0, sites: [site({ standing })] }],
    ...changes,
  };
}

test("a share is read in percent, and unknown stays unknown", () => {
  expect([share(0.05), share(0.999), share(0.0123), share(0), share(null)]).toEqual(["5 %", "100 %", "1.2 %", "0 %", "—"]);
});

test("criteria say whether they hold, and what is unknown neither holds nor breaks", () => {
  const found = Object.fromEntries(checks(site(), CRITERIA).map((one) => [one.name, one.ok]));
  expect(found).toEqual({ Cycles: true, "Alarm rate": true, "Latency p99": true, Errors: true, Agreement: true });
  const none = { agreement: null, alarm_rate: null, latency_p99_ms: null, intervention_rate: null, error_rate: null, cycles: null };
  expect(checks(site({ worst: none }), CRITERIA).map((one) => one.ok)).toEqual([null, null, null, null, null]);
  expect(checks(site({ worst: { ...none, alarm_rate: 0.2 } }), CRITERIA)[1]).toMatchObject({ value: "20 %", limit: "≤ 5 %", ok: false });
});

test("interventions are asked where the model acts, over what the guardian did before", () => {
  const last = checks(site({ stage: "active", worst: { ...site().worst, intervention_rate: 0.13 } }), CRITERIA).at(-1);
  expect(last).toEqual({ name: "Guardian stepped in", limit: "≤ 12 %", value: "13 %", ok: false });
});

test("a first model has nothing to agree with", () => {
  const names = checks(site({ before: null, worst: { ...site().worst, agreement: null } }), CRITERIA).map((one) => one.name);
  expect(names).not.toContain("Agreement");
});

test("a roll-out that needs a person says so first and says what to do", () => {
  expect(headline(campaign())).toEqual(["Running", "info"]);
  expect(headline(campaign({ held: true }))[0]).toBe("Held: needs a look");
  expect(advice(campaign())).toBe("");
  expect(advice(campaign({ held: true }, "offline"))).toMatch(/alpha has power and network/);
  expect(advice(campaign({ state: "halted" }, "returning"))).toMatch(/Not confirmed yet: alpha/);
  expect(advice(campaign({ state: "halted" }, "returned"))).toMatch(/every site is off this version/);
  expect(place(campaign())).toBe("Ring 1 of 1, shadow");
});

test("what is over folds away, what is on its way back does not", () => {
  expect(needsEye(campaign())).toBe(true);
  expect(needsEye(campaign({ state: "done" }))).toBe(false);
  expect(needsEye(campaign({ state: "halted" }))).toBe(false);
  expect(needsEye(campaign({ state: "halted", held: true }))).toBe(true);
});
