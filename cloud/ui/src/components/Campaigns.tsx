/** Roll-outs ring by ring: where each stands, why it waits or was halted, and the few things a person can do. */

import { signal } from "@preact/signals";
import type { JSX } from "preact";
import { api } from "../api/client";
import type { ApprovalView, CampaignOrder, CampaignSite, CampaignView, Criteria, Ring } from "../api/campaigns";
import { span } from "../format/time";
import { sentence } from "../format/words";
import { toSite } from "../route";
import { advice, approvalWords, checks, headline, needsEye, place, sitesOf, STANDING } from "../state/campaigns";
import { now } from "../state/clock";
import { Badge, Panel, Value, When } from "./basics";
import { ask } from "./confirm";

/** What still moves or was halted last stands open; what is over folds away. */
export function Campaigns({ campaigns, reload }: { readonly campaigns: readonly CampaignView[]; readonly reload: () => void }): JSX.Element {
  const sorted = campaigns.toSorted((a, b) => b.created_ms - a.created_ms);
  const shown = sorted.filter((one, i) => i === 0 || needsEye(one));
  const earlier = sorted.filter((one) => !shown.includes(one));
  return (
    <>
      {shown.map((one) => <Campaign key={one.id} campaign={one} reload={reload} />)}
      {earlier.length ? (
        <details class="earlier">
          <summary>Earlier roll-outs ({earlier.length})</summary>
          {earlier.map((one) => <Campaign key={one.id} campaign={one} reload={reload} />)}
        </details>
      ) : null}
    </>
  );
}

function Campaign({ campaign, reload }: { readonly campaign: CampaignView; readonly reload: () => void }): JSX.Element {
  const [words, tone] = headline(campaign);
  const todo = advice(campaign);
  const count = sitesOf(campaign).length;
  return (
    <Panel title={`Roll-out of ${campaign.name} v${campaign.version}`} aside={<Badge tone={tone}>{words}</Badge>}>
      <div class={`campaign-now ${tone}`}>
        <p class="campaign-where">
          <strong>{campaign.state === "done" ? count === 1 ? "On its one site" : `On all ${count} sites` : campaign.state === "halted" ? `Halted in ring ${campaign.ring + 1} of ${campaign.rings.length}` : place(campaign)}</strong>{" "}
          <span class="muted">since <When at_ms={campaign.ended_ms ?? campaign.entered_ms} /> · {count === 1 ? "1 site" : `${count} sites`} · begun by {campaign.created_by}{campaign.second_approver ? " · takes two persons" : ""}</span>
        </p>
        {campaign.why ? <p>{campaign.why}</p> : null}
        {todo ? <p class="advice"><strong>Do:</strong> {todo}</p> : null}
        {campaign.strangers.length ? <p class="muted">Reports this version without having got it from here (not counted): {campaign.strangers.join(", ")}</p> : null}
      </div>
      {campaign.approvals.map((one) => <Waiting key={one.id} approval={one} reload={reload} />)}
      <ol class="rings">
        {campaign.rings.map((ring) => <RingView key={ring.number} ring={ring} campaign={campaign} />)}
      </ol>
      <div class="campaign-foot">
        <Orders campaign={campaign} reload={reload} />
        <details>
          <summary>Record</summary>
          <ul class="latest">
            {campaign.history.map((step, i) => <li key={i}><When at_ms={step.at_ms} /> <strong>{sentence(step.what)}</strong> by {step.actor}{step.site ? `, ${step.site}` : ""}{step.detail ? `: ${step.detail}` : ""}</li>)}
          </ul>
        </details>
      </div>
    </Panel>
  );
}

const RING_WORDS: Readonly<Record<Ring["state"], string>> = { done: "passed", open: "open now", "not-yet": "not yet" };

function RingView({ ring, campaign }: { readonly ring: Ring; readonly campaign: CampaignView }): JSX.Element {
  const troubled = ring.sites.some((site) => ["bad", "offline", "stuck", "silent", "taken", "returning"].includes(site.standing));
  const sites = ring.sites.length === 1 ? "1 site" : `${ring.sites.length} sites`;
  const begun = ring.state !== "not-yet";
  const words = ring.state === "open" && campaign.state === "halted" ? "halted here" : RING_WORDS[ring.state];
  return (
    <li class={`ring ${ring.state}`}>
      <details open={ring.state === "open" || troubled}>
        <summary>
          {ring.state === "done" ? <span aria-hidden="true">✓ </span> : null}<strong>Ring {ring.number}</strong> · {sites} · {words}
          {begun && campaign.state !== "halted" ? ` · ${ring.good} good, ${ring.needed} needed` : ""} · {span(ring.soak_s)} on each stage
        </summary>
        {begun ? (
          <ul class="ring-sites">{ring.sites.map((site) => <SiteLine key={site.site} site={site} criteria={campaign.criteria} />)}</ul>
        ) : (
          <p class="pad muted">{ring.sites.map((site) => site.site).join(", ")}</p>
        )}
      </details>
    </li>
  );
}

function SiteLine({ site, criteria }: { readonly site: CampaignSite; readonly criteria: Criteria }): JSX.Element {
  const [words, tone] = STANDING[site.standing];
  const left = site.soaked_ms === null ? 0 : (site.soaked_ms - now.value) / 1000;
  const numbers = site.heard_ms !== null || site.standing === "bad";
  return (
    <li class="ring-site">
      <div class="ring-site-head">
        <a href={toSite(site.site)}>{site.site}</a> <Badge tone={tone}>{words}</Badge>
        <span>{site.why}{site.standing === "soaking" && left > 0 ? `, ${span(left)} to go` : ""}</span>
        {site.heard_ms !== null ? <span class="muted">newest numbers <When at_ms={site.heard_ms} relative /></span> : null}
      </div>
      {numbers ? (
        <ul class="checks" aria-label={`Criteria at ${site.site}, worst numbers`}>
          {checks(site, criteria).map((one) => (
            <li key={one.name} class={one.ok === null ? "unsure" : one.ok ? "ok" : "not-ok"}>
              <span aria-hidden="true">{one.ok === null ? "?" : one.ok ? "✓" : "✕"}</span>
              <span class="sr">{one.ok === null ? "not known yet:" : one.ok ? "holds:" : "broken:"}</span>{" "}
              {one.name} <strong><Value text={one.value} /></strong> <span class="muted">{one.limit}</span>
            </li>
          ))}
        </ul>
      ) : null}
    </li>
  );
}

/** What waits for a second person outside of any roll-out: a model assigned by hand, a site's own wishes. */
export function OtherApprovals({ approvals, reload }: { readonly approvals: readonly ApprovalView[]; readonly reload: () => void }): JSX.Element | null {
  if (approvals.length === 0) return null;
  return (
    <Panel title="Waits for a second person">
      {approvals.map((one) => <div key={one.id}><p class="pad muted">{one.site}</p><Waiting approval={one} reload={reload} /></div>)}
    </Panel>
  );
}

function Waiting({ approval, reload }: { readonly approval: ApprovalView; readonly reload: () => void }): JSX.Element {
  const left = (approval.expires_ms - now.value) / 1000;
  const decide = (word: "approve" | "refuse"): void =>
    ask({
      title: word === "approve" ? `Agree to ${approvalWords(approval.action)}?` : "Refuse it?",
      verb: word === "approve" ? "Agree" : "Refuse",
      danger: word === "approve" && approval.action !== "review",
      body: <p>{approval.asked_by} asked for it{approval.reason ? `: ${approval.reason}` : ""}. {word === "approve" ? "It is done at once when another person than the one who asked agrees." : "Nothing is done."}</p>,
      run: async (actor) => {
        await api.decide(approval.id, word, actor);
        reload();
      },
    });
  return (
    <div class="approval" role="group" aria-label="A second person is needed">
      <p>
        <strong>{approval.asked_by}</strong> asks to {approvalWords(approval.action)}, <When at_ms={approval.asked_ms} relative />{approval.reason ? `: ${approval.reason}` : ""}.{" "}
        {left > 0 ? `Another person must agree within ${span(left)}.` : "Nobody agreed in time."}
      </p>
      {left > 0 ? (
        <div class="approval-buttons">
          <button type="button" class="primary" onClick={() => decide("approve")}>Agree…</button>
          <button type="button" onClick={() => decide("refuse")}>Refuse…</button>
        </div>
      ) : null}
    </div>
  );
}

/** What the open dialog was told; one dialog stands open at a time. */
const reason = signal("");
const emergency = signal(false);

function Reason({ mayHurry }: { readonly mayHurry: boolean }): JSX.Element {
  return (
    <>
      <label class="note-field">
        Why, for the record
        <input maxLength={300} autocomplete="off" required={emergency.value} value={reason.value} onInput={(event) => (reason.value = event.currentTarget.value)} />
      </label>
      {mayHurry ? (
        <label class="check-field">
          <input type="checkbox" checked={emergency.value} onChange={(event) => (emergency.value = event.currentTarget.checked)} />
          <span><strong>Emergency: do it now, alone.</strong> Raises an alarm that stays until a second person has looked at it.</span>
        </label>
      ) : null}
    </>
  );
}

const ABOUT: Readonly<Record<CampaignOrder, string>> = {
  promote: "It goes one step on now. Sites that are on their stage move; the others follow once they are good. A bad site still halts it.",
  rollback: "Every site of every ring lets go of this version and returns to what it ran before. This is for good: the roll-out cannot go on afterwards.",
  pause: "No further step until somebody resumes it. Sites keep what they have, and a bad one still halts it.",
  resume: "It goes on by itself when the criteria hold.",
};
const VERB: Readonly<Record<CampaignOrder, string>> = { promote: "Promote", rollback: "Roll back", pause: "Pause", resume: "Resume" };

function Orders({ campaign, reload }: { readonly campaign: CampaignView; readonly reload: () => void }): JSX.Element | null {
  const order = (what: CampaignOrder): void => {
    reason.value = "";
    emergency.value = false;
    const two = campaign.second_approver && what !== "pause" && campaign.state !== "proposed";
    ask({
      title: `${VERB[what]} ${campaign.name} v${campaign.version}?`,
      verb: VERB[what],
      danger: what === "rollback",
      body: (
        <>
          <p>{ABOUT[what]}</p>
          {two ? <p><strong>Another person must agree first.</strong> Your request waits here for an hour.</p> : null}
          <Reason mayHurry={two && what === "rollback"} />
        </>
      ),
      run: async (actor) => {
        await api.orderCampaign(campaign.id, what, { actor, reason: reason.value.trim(), emergency: emergency.value });
        reload();
      },
    });
  };
  const fits: readonly CampaignOrder[] =
    campaign.state === "running" ? ["promote", "pause", "rollback"]
    : campaign.state === "paused" ? ["resume", "promote", "rollback"]
    : campaign.state === "halted" ? []
    : ["rollback"];
  if (fits.length === 0) return null;
  return (
    <div class="campaign-buttons">
      {fits.map((what) => (
        <button type="button" key={what} class={what === "rollback" ? "danger" : ""} onClick={() => order(what)}>
          {campaign.state === "proposed" ? "Drop" : VERB[what]}…
        </button>
      ))}
    </div>
  );
}

const SOAKS: readonly (readonly [number, string])[] = [[600, "10 minutes"], [3600, "1 hour"], [21_600, "6 hours"], [86_400, "1 day"], [259_200, "3 days"]];
const soak = signal(86_400);
const two = signal(false);

/** Asks how a version is to be rolled out, and begins it. */
export function beginRollOut(name: string, version: number, count: number, reload: () => void): void {
  two.value = false;
  ask({
    title: `Roll out ${name} v${version} ring by ring?`,
    verb: "Begin",
    body: (
      <>
        <p>
          {count === 1 ? "There is one site, so there is one ring." : `10, 30, 50 and then 100 % of the ${count} sites it may run at,`} first in the shadow, then active. Each step waits until
          the sites have held every criterion for the time below; silence is not success. A bad ring is taken back by itself.
        </p>
        <label class="note-field">
          Time on each stage
          <select value={String(soak.value)} onChange={(event) => (soak.value = Number(event.currentTarget.value))}>
            {SOAKS.map(([seconds, words]) => <option key={seconds} value={String(seconds)}>{words}</option>)}
          </select>
        </label>
        <label class="check-field">
          <input type="checkbox" checked={two.value} onChange={(event) => (two.value = event.currentTarget.checked)} />
          <span>Take two persons to begin, promote and roll back. Sites may ask for it themselves.</span>
        </label>
      </>
    ),
    run: async (actor) => {
      await api.startCampaign({ name, version, actor, soak_s: soak.value, second_approver: two.value });
      reload();
    },
  });
}
