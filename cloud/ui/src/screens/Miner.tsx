/** One device: what it is, what it says now and how sure that is, what it did, and what may be done. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import { algorithmName, known, num, power } from "../format/numbers";
import { COLUMNS, columnLabel, columnValue, KEY_COLUMNS } from "../format/columns";
import { deviceKind, featureWords, qualityWords, stateWords } from "../format/words";
import { href, toSite } from "../route";
import { now } from "../state/clock";
import { isStale, staleAfter, type Device } from "../state/fleet";
import { anomalyRatio, scoreIsOld } from "../state/heat";
import { devicesOf, fleet, open } from "../state/store";
import { Age, Badge, Empty, Fact, Panel, Value, WaitingForData, When } from "../components/basics";
import { AlarmCard } from "../components/AlarmCard";
import { Commands, planned } from "../components/Commands";
import { ask } from "../components/confirm";
import { HistoryPanel, type ChartSpec } from "../components/HistoryPanel";

const LIVE = [
  "hashrate_ths_mean", "hashrate_nominal_ths_last", "power_w_mean", "chip_temp_max_c_max", "board_temp_max_c_max", "psu_temp_c_max",
  "fan_rpm_mean", "fan_rpm_min", "fan_duty_pct_mean", "boards_working_min", "hw_errors_delta", "shares_accepted_delta",
  "shares_rejected_delta", "uptime_s_last",
];

function minerCharts(algorithm: string | null): readonly ChartSpec[] {
  const scrypt = algorithm === "scrypt";
  return [
    {
      title: "Hashrate", unit: scrypt ? "GH/s" : "TH/s", digits: 1, scale: scrypt ? 1000 : 1,
      lines: [{ column: "hashrate_ths_mean", label: "measured" }, { column: "hashrate_nominal_ths_last", label: "nominal" }],
    },
    { title: "Power", unit: "W", digits: 0, scale: 1, lines: [{ column: "power_w_mean", label: "measured" }, { column: "preset_w_last", label: "preset" }] },
    {
      title: "Temperature", unit: "°C", digits: 0, scale: 1,
      lines: [{ column: "chip_temp_max_c_max", label: "hottest chip" }, { column: "board_temp_max_c_max", label: "hottest board" }],
    },
    { title: "Fan speed", unit: "rpm", digits: 0, scale: 1, lines: [{ column: "fan_rpm_mean", label: "mean" }, { column: "fan_rpm_min", label: "slowest" }] },
    { title: "Fan duty", unit: "%", digits: 0, scale: 1, lines: [{ column: "fan_duty_pct_mean", label: "asked for" }] },
  ];
}
const SHA_CHARTS = minerCharts("sha256d");
const SCRYPT_CHARTS = minerCharts("scrypt");

function chartsOf(device: Device): readonly ChartSpec[] {
  if (device.kind === "miner") return device.algorithm === "scrypt" ? SCRYPT_CHARTS : SHA_CHARTS;
  return (KEY_COLUMNS[device.kind] ?? []).map((name) => ({
    title: columnLabel(name), unit: COLUMNS[name]?.unit ?? "", digits: COLUMNS[name]?.digits ?? 0, scale: 1, lines: [{ column: name, label: columnLabel(name) }],
  }));
}

export function Miner({ site: siteId, id }: { readonly site: string; readonly id: string }): JSX.Element {
  if (!fleet.value.loaded) return <WaitingForData />;
  const device = fleet.value.devices.get(siteId)?.get(id);
  const site = fleet.value.sites.get(siteId);
  if (device === undefined) return <Empty title={`There is no device “${id}” at “${siteId}”`}><a href={toSite(siteId)}>Back to the site</a></Empty>;
  const limit = staleAfter(site);
  const stale = isStale(device, now.value, limit);
  const alarms = open.value.filter((alarm) => alarm.site === siteId && alarm.device === id);
  const miner = device.kind === "miner";
  return (
    <>
      <DeviceHead device={device} siteName={site?.name ?? siteId} limit={limit} />
      {stale ? (
        <p class="note stale-note" role="status">
          <strong>No fresh data from this device.</strong> The values below are the last known; it counts as running and hot until it answers.
        </p>
      ) : null}
      {device.inhibited ? <p class="note warn-note"><strong>Inhibited:</strong> {device.inhibited}. Nothing is raised here until it releases by itself.</p> : null}
      <div class="columns wide-left">
        <Panel title={stale ? "Last known values" : "Now"} aside={<Age of={device} limit_s={limit} />}>
          <LiveValues device={device} />
        </Panel>
        <div class="stack">
          {miner ? <AnomalyPanel device={device} old={scoreIsOld(device, now.value, limit)} /> : null}
          <Identity device={device} />
        </div>
      </div>
      <HistoryPanel key={device.id} title="History" device={device} charts={chartsOf(device)} />
      <div class="columns">
        <Panel title="Open alarms">
          {alarms.length ? <ul class="alarms">{alarms.map((alarm) => <AlarmCard key={alarm.id} alarm={alarm} />)}</ul> : <Empty title="No open alarms on this device" />}
        </Panel>
        {miner ? (
          <Panel title="Commands"><Orders device={device} /><Commands site={siteId} device={id} /></Panel>
        ) : (
          <Panel title="Log"><p class="pad"><a href={href("/log", { site: siteId, device: id })}>What automation did with {id}</a></p></Panel>
        )}
      </div>
      {miner ? <p class="pad"><a href={href("/log", { site: siteId, device: id })}>What automation decided about {id}, and why</a></p> : null}
    </>
  );
}

function DeviceHead({ device, siteName, limit }: { readonly device: Device; readonly siteName: string; readonly limit: number }): JSX.Element {
  const state = stateWords(device.state);
  const tone = { running: "good", settling: "info", stopped: "plain", failed: "bad", unknown: "unknown" } as const;
  return (
    <div class="page-head">
      <div>
        <nav class="crumbs" aria-label="Where you are"><a href={href("/")}>Fleet</a> › <a href={toSite(device.site)}>{siteName}</a></nav>
        <h1>{device.id} {device.kind === "miner" ? <Badge tone={tone[state.look]}>{state.sign ? `${state.sign} ` : ""}{state.label}</Badge> : <Badge tone="plain">{deviceKind(device.kind)}</Badge>}</h1>
      </div>
      <dl class="head-facts">
        {device.kind === "miner" ? (
          <>
            <div><dt>Hashrate</dt><dd><Value text={columnValue("hashrate_ths_mean", device.latest["hashrate_ths_mean"], device.algorithm)} /></dd></div>
            <div><dt>Power</dt><dd><Value text={columnValue("power_w_mean", device.latest["power_w_mean"])} /></dd></div>
            <div><dt>Hottest chip</dt><dd><Value text={columnValue("chip_temp_max_c_max", device.latest["chip_temp_max_c_max"])} /></dd></div>
          </>
        ) : null}
        <div><dt>Data</dt><dd><Age of={device} limit_s={limit} /></dd></div>
      </dl>
    </div>
  );
}

function LiveValues({ device }: { readonly device: Device }): JSX.Element {
  const names = device.kind === "miner" ? LIVE : Object.keys(COLUMNS).filter((name) => device.latest[name] != null);
  return (
    <dl class="facts">
      {names.map((name) => <Fact key={name} name={columnLabel(name)}><Value text={columnValue(name, device.latest[name], device.algorithm)} /></Fact>)}
      <Fact name="Quality">{qualityWords(device.quality)}</Fact>
      <Fact name="Polls in the step">{num(device.samples)} good, {num(device.failed)} failed</Fact>
    </dl>
  );
}

function Identity({ device }: { readonly device: Device }): JSX.Element {
  const place = device.rack === null ? null : `rack ${device.rack}${device.slot === null ? "" : `, slot ${device.slot}`}`;
  return (
    <Panel title="Identity">
      <dl class="facts narrow">
        <Fact name="Model">{device.model ?? <Value text="—" />}</Fact>
        {device.kind === "miner" ? <Fact name="Algorithm">{algorithmName(device.algorithm)}</Fact> : null}
        {device.kind === "miner" ? <Fact name="Running preset">{device.preset ?? <Value text="—" />}</Fact> : null}
        {device.kind === "miner" ? <Fact name="Nominal power"><Value text={power(device.nominal_w)} /></Fact> : null}
        <Fact name="Zone">{device.zone ?? <Value text="—" />}</Fact>
        {device.kind === "miner" ? <Fact name="Place">{place ?? <Value text="—" />}</Fact> : null}
        <Fact name="Address"><code>{device.host ?? "—"}</code></Fact>
        <Fact name="Adapter">{device.adapter ?? <Value text="—" />}</Fact>
      </dl>
    </Panel>
  );
}

function AnomalyPanel({ device, old }: { readonly device: Device; readonly old: boolean }): JSX.Element {
  const ratio = anomalyRatio(device);
  const anomaly = device.anomaly;
  if (anomaly === null || ratio === null) {
    return <Panel title="Anomaly"><Empty title="Not scored yet">A score appears once a model is in shadow or active and its window is full.</Empty></Panel>;
  }
  const odd = ratio > 1;
  return (
    <Panel title="Anomaly" aside={<Badge tone={old ? "unknown" : odd ? "warn" : "good"}>{old ? "Old score: not scored now" : odd ? "▲ Above threshold" : "✓ Below threshold"}</Badge>}>
      <div class="pad">
        <div class="gauge" role="img" aria-label={`Score is ${ratio.toFixed(2)} times the threshold`}>
          <span class={odd ? "gauge-fill odd" : "gauge-fill"} style={{ width: `${Math.min(100, ratio * 50)}%` }} />
          <span class="gauge-mark" />
        </div>
        <p>Score <strong>{num(anomaly.score, 3)}</strong> of threshold {num(anomaly.threshold, 3)} ({ratio.toFixed(2)} ×), <When at_ms={anomaly.at_ms} relative /></p>
        {anomaly.top_feature ? <p>Furthest from what the model expects: <strong>{featureWords(anomaly.top_feature)}</strong></p> : null}
        {anomaly.model ? <p class="muted">By {anomaly.model} v{anomaly.version ?? "?"}</p> : null}
      </div>
    </Panel>
  );
}

/** Presets that machines of this model really run at this site: the ladder itself lives on the gateway. */
function presetsSeen(device: Device): string[] {
  const same = devicesOf(device.site).filter((other) => other.kind === "miner" && other.model === device.model && other.preset !== null);
  return [...new Set(same.map((other) => other.preset as string))].sort(new Intl.Collator("en", { numeric: true }).compare);
}

function Orders({ device }: { readonly device: Device }): JSX.Element {
  const [preset, setPreset] = useState("");
  const seen = presetsSeen(device);
  const stopped = device.state === "stopped";
  const hashing = device.latest["hashrate_ths_mean"];
  return (
    <div class="orders">
      {stopped ? (
        <button type="button" onClick={() => ask({
          title: `Start ${device.id}?`, ...planned(device.site, { order: "actions", actions: [{ do: "start", device: device.id }] }, "Start mining"),
          body: <p>It starts at the preset it has. The guardian refuses while cooling is not proven or anything is tripped.</p>,
        })}>Start…</button>
      ) : (
        <button type="button" class="danger" onClick={() => ask({
          title: `Stop ${device.id}?`, ...planned(device.site, { order: "actions", actions: [{ do: "stop", device: device.id }] }, "Stop this miner", true),
          body: <p>It stops hashing ({known(hashing) ? columnValue("hashrate_ths_mean", hashing, device.algorithm) : "hashrate unknown"}) and stays reachable. The stop is confirmed by a read-back within 30 s.</p>,
        })}>Stop miner…</button>
      )}
      <form class="preset" onSubmit={(event) => {
        event.preventDefault();
        ask({
          title: `Set ${device.id} to preset ${preset}?`, ...planned(device.site, { order: "actions", actions: [{ do: "set-preset", device: device.id, preset }] }, "Set preset"),
          body: <p>From <strong>{device.preset ?? "unknown"}</strong> to <strong>{preset}</strong>. The machine restarts its mining for some minutes. The guardian
            checks the preset against the machine's own ladder and every limit, and refuses what does not fit.</p>,
        });
      }}>
        <label class="inline">Preset <input list="presets" required maxLength={64} value={preset} placeholder={device.preset ?? ""} onInput={(event) => setPreset(event.currentTarget.value.trim())} /></label>
        <datalist id="presets">{seen.map((name) => <option key={name} value={name} />)}</datalist>
        <button type="submit">Set…</button>
      </form>
      {seen.length ? <p class="muted">Presets in use on this model here: {seen.join(", ")}</p> : null}
    </div>
  );
}
