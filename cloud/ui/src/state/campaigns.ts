/** What a roll-out's numbers mean for a person: does each criterion hold, what is it waiting for, what to do. */

import type { CampaignSite, CampaignView, Criteria, Standing } from "../api/campaigns";
import type { Tone } from "../components/basics";
import { UNKNOWN } from "../format/numbers";

export interface Check {
  readonly name: string;
  readonly limit: string;
  readonly value: string;
  /** null: not known, which is not good enough and not bad either. */
  readonly ok: boolean | null;
}

export function share(value: number | null): string {
  if (value === null) return UNKNOWN;
  const percent = value * 100;
  return `${percent >= 10 || Number.isInteger(percent) ? percent.toFixed(0) : percent.toFixed(1)} %`;
}

const atMost = (value: number | null, limit: number): boolean | null => (value === null ? null : value <= limit);

/** The criteria of one site with its worst numbers, in the order in which people ask. */
export function checks(site: CampaignSite, criteria: Criteria): Check[] {
  const { worst } = site;
  const allowed = (site.intervention_before ?? 0) + criteria.max_intervention_rise;
  const found: Check[] = [
    { name: "Cycles", limit: `≥ ${criteria.min_cycles}`, value: worst.cycles === null ? UNKNOWN : String(worst.cycles), ok: worst.cycles === null ? null : worst.cycles >= criteria.min_cycles ? true : null },
    { name: "Alarm rate", limit: `≤ ${share(criteria.max_alarm_rate)}`, value: share(worst.alarm_rate), ok: atMost(worst.alarm_rate, criteria.max_alarm_rate) },
    { name: "Latency p99", limit: `≤ ${criteria.max_latency_p99_ms.toFixed(0)} ms`, value: worst.latency_p99_ms === null ? UNKNOWN : `${worst.latency_p99_ms.toFixed(0)} ms`, ok: atMost(worst.latency_p99_ms, criteria.max_latency_p99_ms) },
    { name: "Errors", limit: `≤ ${share(criteria.max_error_rate)}`, value: share(worst.error_rate), ok: atMost(worst.error_rate, criteria.max_error_rate) },
  ];
  if (criteria.min_agreement !== null && (site.before !== null || worst.agreement !== null)) {
    found.push({ name: "Agreement", limit: `≥ ${share(criteria.min_agreement)}`, value: share(worst.agreement), ok: worst.agreement === null ? null : worst.agreement >= criteria.min_agreement });
  }
  if (site.stage === "active") {
    found.push({ name: "Guardian stepped in", limit: `≤ ${share(allowed)}`, value: share(worst.intervention_rate), ok: atMost(worst.intervention_rate, allowed) });
  }
  return found;
}

export const STANDING: Readonly<Record<Standing, readonly [string, Tone]>> = {
  good: ["Good", "good"],
  soaking: ["Soaking", "info"],
  young: ["Too few numbers", "info"],
  coming: ["On its way", "info"],
  silent: ["Silent", "warn"],
  stuck: ["Stuck", "warn"],
  offline: ["Offline", "warn"],
  taken: ["Changed by hand", "warn"],
  bad: ["Bad", "bad"],
  "not-yet": ["Not yet", "plain"],
  returning: ["Going back", "warn"],
  returned: ["Back", "plain"],
};

/** State and tone of a whole roll-out; one that needs a person says so before anything else. */
export function headline(campaign: CampaignView): readonly [string, Tone] {
  switch (campaign.state) {
    case "proposed": return ["Waits for a second person", "warn"];
    case "paused": return ["Paused", "warn"];
    case "halted": return ["Halted", "bad"];
    case "done": return ["Done", "good"];
    case "running": return campaign.held ? ["Held: needs a look", "warn"] : ["Running", "info"];
  }
}

/** Whether it may still move, or sites are on their way back, or somebody must agree. */
export function needsEye(campaign: CampaignView): boolean {
  const over = campaign.state === "done" || (campaign.state === "halted" && !campaign.held);
  return !over || campaign.approvals.length > 0;
}

/** "Ring 2 of 4, shadow". */
export function place(campaign: CampaignView): string {
  return `Ring ${campaign.ring + 1} of ${campaign.rings.length}, ${campaign.stage}`;
}

export function sitesOf(campaign: CampaignView): CampaignSite[] {
  return campaign.rings.flatMap((ring) => ring.sites);
}

const named = (sites: readonly CampaignSite[]): string =>
  sites.slice(0, 3).map((site) => site.site).join(", ") + (sites.length > 3 ? ` and ${sites.length - 3} more` : "");

/** What a person should do now, in the imperative; empty where there is nothing to do. */
export function advice(campaign: CampaignView): string {
  const all = sitesOf(campaign);
  const going = all.filter((site) => site.standing === "returning");
  if (campaign.state === "halted") {
    if (going.length) return `Nothing at once: the sites go back by themselves. Not confirmed yet: ${named(going)}. Look whether they are online.`;
    return all.some((site) => site.standing === "returned")
      ? "Nothing at once: every site is off this version. Find out why before a newer version is rolled out."
      : "";
  }
  if (campaign.state === "proposed") return "Another person looks at the plan below and agrees, or refuses.";
  if (campaign.state === "paused") return "Resume it, or roll it back. Sites keep the stage that they have, and bad news still halts it.";
  if (!campaign.held) return "";
  const of = (standing: Standing): CampaignSite[] => all.filter((site) => site.standing === standing);
  if (of("taken").length) return `Ask who changed ${named(of("taken"))}. Promote to leave it out, or roll back.`;
  if (of("offline").length) return `Look whether ${named(of("offline"))} has power and network. It goes on by itself once the site is heard again.`;
  if (of("stuck").length) return `Look at the log of ${named(of("stuck"))} for why it does not get there. Roll back if in doubt.`;
  if (of("silent").length) return `Look whether the agent runs at ${named(of("silent"))}: it scores nothing. Roll back if in doubt.`;
  return "Promote it if you know better than the numbers, or roll it back.";
}

/** What an approval would do, in words. */
export function approvalWords(action: string): string {
  const words: Readonly<Record<string, string>> = {
    start: "begin this roll-out",
    promote: "promote it by one step without waiting",
    rollback: "roll it back everywhere",
    resume: "let it go on",
    review: "confirm that the emergency rollback was looked at",
    assign: "assign a model by hand",
    settings: "ask less of roll-outs at this site",
  };
  return words[action] ?? action;
}
