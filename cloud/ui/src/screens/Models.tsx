/** Models: which versions exist, whether they beat what they must beat, and where each of them runs. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { api } from "../api/client";
import type { ModelView, RolloutView, Stage, TrainingView } from "../api/types";
import { bytes, num } from "../format/numbers";
import { span } from "../format/time";
import { sentence } from "../format/words";
import { toSite } from "../route";
import { now } from "../state/clock";
import { furthest, metricName, metricRows, metricText, STAGES, stageIndex } from "../state/metrics";
import { useResource } from "../state/resource";
import { fleet, sites } from "../state/store";
import { Badge, Empty, Failure, Loading, Panel, Value, When, type Tone } from "../components/basics";
import { beginRollOut, Campaigns, OtherApprovals } from "../components/Campaigns";
import { ask } from "../components/confirm";

const POLL_MS = 3000;
/** Waiting reasons and soak times change without any event. */
const CAMPAIGN_POLL_MS = 10_000;

export function Models(): JSX.Element {
  const models = useResource("models", (signal) => api.models(signal));
  const rollouts = useResource("rollouts", (signal) => api.rollouts(signal));
  const training = useResource("training", (signal) => api.training(signal));
  const campaigns = useResource("campaigns", (signal) => api.campaigns(signal));
  const approvals = useResource("approvals", (signal) => api.approvals(signal));
  const reload = (): void => {
    models.reload();
    rollouts.reload();
    campaigns.reload();
    approvals.reload();
    training.reload();
  };
  const changes = fleet.value.model_changes;
  useEffect(() => {
    if (changes > 1) reload();
  }, [changes]);
  const busy = (training.data?.items ?? []).some((run) => run.state === "queued" || run.state === "running");
  const moving = (campaigns.data?.items ?? []).some((one) => one.state !== "done" && one.state !== "halted");
  useEffect(() => {
    if (!busy && !moving) return undefined;
    const timer = setInterval(reload, busy ? POLL_MS : CAMPAIGN_POLL_MS);
    return () => clearInterval(timer);
  }, [busy, moving]);
  const failed = [campaigns, models, rollouts, training, approvals].find((one) => one.problem !== null);
  const newest = (models.data?.items ?? []).toSorted((a, b) => b.created_ms - a.created_ms);
  return (
    <>
      <div class="page-head">
        <h1>Models</h1>
        <div class="filters">
          {sites.value.map((site) => (
            <button type="button" key={site.id} class="primary" disabled={busy} onClick={() => train(site.id, site.name, reload)}>
              {busy ? "Training…" : `Train on ${site.name}…`}
            </button>
          ))}
        </div>
      </div>
      {failed?.problem ? <Failure problem={failed.problem} kept_ms={failed.loaded_ms} retry={reload} /> : null}
      {campaigns.data === null && !campaigns.problem ? <Loading what="roll-outs" /> : null}
      <Campaigns campaigns={campaigns.data?.items ?? []} reload={reload} />
      <OtherApprovals approvals={(approvals.data?.items ?? []).filter((one) => one.campaign === null)} reload={reload} />
      <TrainingRuns runs={training.data?.items ?? []} />
      <Panel title="Where they run">
        {rollouts.data === null ? (
          rollouts.problem ? null : <Loading what="roll-outs" />
        ) : rollouts.data.items.length ? (
          <ul class="rollouts">
            {rollouts.data.items.toSorted((a, b) => Number(b.current) - Number(a.current) || (b.assigned_ms ?? 0) - (a.assigned_ms ?? 0)).map((one) => <Rollout key={`${one.site} ${one.name} ${one.version}`} rollout={one} />)}
          </ul>
        ) : (
          <Empty title="No model has been rolled out">Sites run on their own rules until one is.</Empty>
        )}
      </Panel>
      {models.data === null ? (models.problem ? null : <Loading what="models" />) : null}
      {models.data !== null && newest.length === 0 ? <Empty title="No model yet">Train one on what a site has sent; a minute of data is enough for a first one in the demo.</Empty> : null}
      {newest.map((model) => <Version key={`${model.name} ${model.version}`} model={model} reload={reload} />)}
    </>
  );
}

function train(site: string, name: string, reload: () => void): void {
  ask({
    title: `Train on data from ${name}?`,
    verb: "Start training",
    body: <p>The cloud trains each algorithm on what the site has sent. A version that does not pass its gate is kept as rejected and goes nowhere. Nothing changes on the site.</p>,
    run: async () => {
      await api.train(site);
      reload();
    },
  });
}

const RUN_TONE: Readonly<Record<TrainingView["state"], Tone>> = { queued: "info", running: "info", done: "good", failed: "bad" };

function TrainingRuns({ runs }: { readonly runs: readonly TrainingView[] }): JSX.Element | null {
  const latest = runs.toSorted((a, b) => b.requested_ms - a.requested_ms).slice(0, 4);
  if (latest.length === 0) return null;
  return (
    <Panel title="Training runs">
      <ul class="runs">
        {latest.map((run) => (
          <li key={run.id}>
            <Badge tone={RUN_TONE[run.state]}>{run.state}</Badge> {run.site} · <When at_ms={run.requested_ms} />{run.algorithms.length ? ` · ${run.algorithms.join(", ")}` : ""}
            {run.started_ms !== null ? <> · {span(((run.ended_ms ?? now.value) - run.started_ms) / 1000)}</> : null}
            {run.detail ? <div class="muted">{run.detail}</div> : null}
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function Rollout({ rollout }: { readonly rollout: RolloutView }): JSX.Element {
  const state = rollout.reported?.state ?? "published";
  const reached = furthest([state, ...rollout.history.map((one) => one.state)]);
  const off = stageIndex(state) < 0 || rollout.stage === "withdrawn";
  const goal = rollout.stage === "active" ? STAGES.length - 1 : STAGES.indexOf("shadow");
  return (
    <li class="rollout">
      <div class="rollout-head">
        <strong>{rollout.name} v{rollout.version}</strong> at <a href={toSite(rollout.site)}>{rollout.site}</a>
        <Badge tone="plain">{rollout.stage === null ? "not assigned from here" : `assigned: ${rollout.stage}`}</Badge>
        {rollout.current ? null : <Badge tone="plain">earlier</Badge>}
        {off ? <Badge tone={rollout.stage === "withdrawn" ? "plain" : "bad"}>{sentence(state)}</Badge> : null}
        <span class="muted"><When at_ms={rollout.reported?.at_ms ?? rollout.assigned_ms} relative /></span>
      </div>
      <ol class="stages" aria-label={`Reached ${state}`}>
        {STAGES.slice(0, goal + 1).map((stage, i) => (
          <li key={stage} class={i > reached ? "" : off ? "past" : "reached"}><span aria-hidden="true">{i <= reached ? "✓" : "·"}</span> {stage}</li>
        ))}
      </ol>
      {rollout.reported?.detail ? <p class="muted">{rollout.reported.detail}</p> : null}
      {rollout.history.length ? (
        <details>
          <summary>History</summary>
          <ul class="latest">{rollout.history.map((one, i) => <li key={i}><When at_ms={one.at_ms} /> <strong>{one.state}</strong> {one.detail}</li>)}</ul>
        </details>
      ) : null}
    </li>
  );
}

const STATUS_TONE: Readonly<Record<ModelView["status"], Tone>> = { rejected: "bad", registered: "info", blessed: "good" };

function Version({ model, reload }: { readonly model: ModelView; readonly reload: () => void }): JSX.Element {
  const rows = metricRows(model.metrics);
  const passed = model.gate.filter((rule) => rule.ok).length;
  const beside = rows.some((row) => row.baseline !== null || row.champion !== null);
  return (
    <Panel title={`${model.name} v${model.version}`} aside={<><Badge tone="plain">{model.algorithm}</Badge> <Badge tone={STATUS_TONE[model.status]}>{model.status}</Badge></>}>
      <div class="model">
        <dl class="facts narrow">
          <div class="fact"><dt>Made</dt><dd><When at_ms={model.created_ms} /></dd></div>
          <div class="fact"><dt>Data</dt><dd><When at_ms={model.data_from_ms} /> – <When at_ms={model.data_to_ms} /></dd></div>
          <div class="fact"><dt>Size</dt><dd>{bytes(model.size)}</dd></div>
          <div class="fact"><dt>SHA-256</dt><dd><code title={model.sha256}>{model.sha256.slice(0, 12)}…</code></dd></div>
          {Object.entries(model.thresholds).map(([of, value]) => <div class="fact" key={of}><dt>Threshold {of === "*" ? "" : of}</dt><dd>{num(value, 3)}</dd></div>)}
        </dl>
        <div class="table-scroll">
          {rows.length ? (
            <table class="metrics">
              <thead><tr><th scope="col">Metric</th><th scope="col">This</th>{beside ? <><th scope="col">Baseline</th><th scope="col">Champion</th></> : null}</tr></thead>
              <tbody>
                {rows.map((row) => (
                  <tr key={row.name}>
                    <th scope="row">{metricName(row.name)}</th>
                    {[row.value, ...(beside ? [row.baseline, row.champion] : [])].map((value, i) => <td key={i}><Value text={value === null ? "—" : metricText(value)} /></td>)}
                  </tr>
                ))}
              </tbody>
            </table>
          ) : <Empty title="No metrics" />}
        </div>
        <div>
          <h3>Gate: {passed} of {model.gate.length} passed</h3>
          <ul class="gate">
            {model.gate.map((rule) => (
              <li key={rule.rule} class={rule.ok ? "ok" : "not-ok"}><span aria-hidden="true">{rule.ok ? "✓" : "✕"}</span><span class="sr">{rule.ok ? "passed:" : "failed:"}</span> <strong>{sentence(rule.rule)}</strong> {rule.detail}</li>
            ))}
          </ul>
        </div>
      </div>
      {model.status === "rejected" ? null : <RollOutButtons model={model} reload={reload} />}
    </Panel>
  );
}

const STAGE_ABOUT: Readonly<Record<Stage, string>> = {
  shadow: "The site downloads and verifies it, then scores beside what acts now. It changes nothing.",
  active: "The site downloads, verifies and shadows it, then lets it act: it may propose, the guardian bounds and decides.",
  withdrawn: "The site stops using it and falls back to its own rules.",
};
const STAGE_VERB: Readonly<Record<Stage, string>> = { shadow: "Shadow", active: "Activate", withdrawn: "Withdraw" };

function RollOutButtons({ model, reload }: { readonly model: ModelView; readonly reload: () => void }): JSX.Element {
  const rollOut = (site: string, siteName: string, stage: Stage): void =>
    ask({
      title: `${STAGE_VERB[stage]} ${model.name} v${model.version} at ${siteName}?`,
      verb: STAGE_VERB[stage],
      danger: stage !== "shadow",
      body: <p>{STAGE_ABOUT[stage]} The order is signed and waits for the site if it is offline.</p>,
      run: async (actor) => {
        await api.rollOut({ site, name: model.name, version: model.version, stage, actor });
        reload();
      },
    });
  return (
    <div class="model-buttons">
      {model.status === "blessed" && sites.value.length ? (
        <button type="button" class="primary" onClick={() => beginRollOut(model.name, model.version, sites.value.length, reload)}>Roll out ring by ring…</button>
      ) : null}
      {sites.value.map((site) => (
        <div key={site.id} role="group" aria-label={`Roll out at ${site.name}`}>
          <span>{site.name}:</span>
          {(["shadow", "active", "withdrawn"] as const).map((stage) => (
            <button type="button" key={stage} onClick={() => rollOut(site.id, site.name, stage)}>{STAGE_VERB[stage]}…</button>
          ))}
        </div>
      ))}
    </div>
  );
}
