/** One site: its zones, the heat map of each, the other equipment, and the one button for an emergency. */

import type { JSX } from "preact";
import { useState } from "preact/hooks";
import type { AlarmView, EventView, ZoneView } from "../api/types";
import { hashingText, power } from "../format/numbers";
import { COLUMNS, columnLabel, columnValue, KEY_COLUMNS } from "../format/columns";
import { deviceKind, stateWords } from "../format/words";
import { href, route, setQuery, toDevice } from "../route";
import { now } from "../state/clock";
import { ageOf, isStale, staleAfter, type Device, type Site as SiteState } from "../state/fleet";
import { FILLS, fillOf, topOf, type FillAbout } from "../state/heat";
import { devicesOf, fleet, open } from "../state/store";
import { Age, Badge, Empty, Panel, Value, WaitingForData, When } from "../components/basics";
import { AlarmCard } from "../components/AlarmCard";
import { Commands, send } from "../components/Commands";
import { ask } from "../components/confirm";
import { HeatLegend } from "../components/HeatLegend";
import { HeatMap } from "../components/HeatMap";
import { ZoneBanner } from "../components/ZoneBanner";
import { HistoryPanel } from "../components/HistoryPanel";
import { Sync } from "../components/Sync";
import { span } from "../format/time";
import { Algorithms } from "./Fleet";

const POWER_CHART = [{ title: "Power", unit: "kW", digits: 1, scale: 0.001, lines: [{ column: "power_w_mean", label: "meter" }] }] as const;

export function Site({ id }: { readonly id: string }): JSX.Element {
  if (!fleet.value.loaded) return <WaitingForData />;
  const site = fleet.value.sites.get(id);
  if (site === undefined) return <Empty title={`There is no site “${id}”`}><a href={href("/")}>All sites</a></Empty>;
  const devices = devicesOf(id);
  const limit = staleAfter(site);
  const stale = !site.online || isStale(site, now.value, limit);
  const alarms = open.value.filter((alarm) => alarm.site === id);
  const meters = devices.filter((device) => device.kind === "meter");
  return (
    <>
      <SiteHead site={site} limit={limit} />
      {stale ? <StaleNote site={site} /> : null}
      <div class="zones">
        {site.zones.map((zone) => <ZoneBanner key={zone.id} zone={zone} stale={stale} trip={tripOf(id, zone)} />)}
      </div>
      <Heat site={site} devices={devices} stale_s={limit} />
      <div class="columns">
        <div class="stack">
          <Panel title="Open alarms" aside={<a href={href("/alarms", { site: id })}>All alarms</a>}>
            {alarms.length ? (
              <ul class="alarms">{alarms.slice(0, 4).map((alarm) => <AlarmCard key={alarm.id} alarm={alarm} />)}</ul>
            ) : (
              <Empty title={stale ? "No open alarms when last heard" : "No open alarms"} />
            )}
            {alarms.length > 4 ? <p class="pad"><a href={href("/alarms", { site: id })}>{alarms.length - 4} more</a></p> : null}
          </Panel>
          <Panel title="Latest in the log" aside={<a href={href("/log", { site: id })}>Whole log</a>}><LatestEvents site={id} /></Panel>
          <Sync key={id} site={site} limit_s={limit} />
        </div>
        <div class="stack">
          <Panel title="Totals" aside={<Age of={site} limit_s={limit} />}>
            <Algorithms site={site} />
            <p class="muted pad">
              Meter <Value text={power(site.power_w)} /> · miners estimate <Value text={power(site.miners_power_w)} /> ·
              {" "}{site.model ? `${site.model.name} v${site.model.version}, ${site.model.stage}` : "no model, rules only"}
            </p>
          </Panel>
          {meters.map((meter) => (
            <HistoryPanel key={meter.id} title={`Power at ${meter.id}`} device={meter} charts={POWER_CHART} />
          ))}
          <Panel title="Commands"><Commands site={id} /></Panel>
        </div>
      </div>
      <Equipment devices={devices} stale_s={limit} />
    </>
  );
}

/** The newest word on why a zone tripped. */
function tripOf(site: string, zone: ZoneView): EventView | AlarmView | null {
  if (!zone.tripped) return null;
  const here = (thing: EventView | AlarmView): boolean => thing.site === site && thing.zone === zone.id && thing.kind === "tripped";
  return fleet.value.events.find(here) ?? open.value.find(here) ?? null;
}

function SiteHead({ site, limit }: { readonly site: SiteState; readonly limit: number }): JSX.Element {
  return (
    <div class="page-head">
      <div>
        <nav class="crumbs" aria-label="Where you are"><a href={href("/")}>Fleet</a></nav>
        <h1>
          {site.name} {site.simulated ? <Badge tone="plain">Simulated</Badge> : null}
          {site.online ? null : <Badge tone="bad">✕ Offline</Badge>}
        </h1>
      </div>
      <dl class="head-facts">
        <div><dt>Power</dt><dd><Value text={power(site.power_w)} /></dd></div>
        <div><dt>Hashing</dt><dd>{hashingText(site.miners_hashing, site.miners_fresh, site.miners_total)}</dd></div>
        <div><dt>Data</dt><dd><Age of={site} limit_s={limit} /></dd></div>
      </dl>
      <button type="button" class="danger" onClick={() => safeStop(site, null)}>Safe stop…</button>
    </div>
  );
}

function StaleNote({ site }: { readonly site: SiteState }): JSX.Element {
  return (
    <p class="note stale-note" role="status">
      <strong>{site.online ? "The site is connected but sends no data." : "The site is not connected."}</strong> Last heard{" "}
      <When at_ms={site.last_seen_ms} relative />. What is shown below is the last that was known, not the present. The gateway keeps the site safe by itself
      and sends what it recorded when the line is back.
    </p>
  );
}

function safeStop(site: SiteState, zone: string | null): void {
  ask({
    title: zone ? `Safe stop of zone ${zone}?` : `Safe stop of ${site.name}?`,
    verb: "Stop mining now",
    danger: true,
    body: (
      <>
        <p>
          Every miner {zone ? `in zone ${zone}` : "of the site"} stops hashing ({hashingText(site.miners_hashing, site.miners_fresh, site.miners_total)} hash now). Cooling keeps
          running. Each stop is confirmed by a read-back.
        </p>
        <p>
          It goes to mode <strong>Safe</strong> and <strong>stays stopped</strong> until a person on site hands it back; that cannot
          be done from here.
        </p>
        {site.online ? null : <p><strong>The site is offline: the command will most likely expire unheard.</strong></p>}
      </>
    ),
    run: (actor) => send(site.id, { order: "safe-stop", zone }, actor),
  });
}

function Heat({ site, devices, stale_s }: { readonly site: SiteState; readonly devices: readonly Device[]; readonly stale_s: number }): JSX.Element {
  const fill = fillOf(route.value.query["fill"]);
  const [pointed, setPointed] = useState<string | null>(null);
  const miners = devices.filter((device) => device.kind === "miner");
  const zones = [...new Set(miners.map((miner) => miner.zone ?? "no zone"))].sort();
  const shown = miners.find((miner) => miner.id === pointed) ?? null;
  if (miners.length === 0) {
    return <Panel title="Heat map"><Empty title="No miner has reported yet">They appear with the first roll-up row.</Empty></Panel>;
  }
  return (
    <Panel title="Heat map" aside={<FillChoice fill={fill} />}>
      {zones.map((zone) => (
        <div class="heat-zone" key={zone}>
          <h3>{zone} <Badge tone="plain">{miners.filter((miner) => (miner.zone ?? "no zone") === zone).length} miners</Badge>
            {site.zones.length > 1 && site.zones.some((one) => one.id === zone) ? (
              <button type="button" class="quiet small" onClick={() => safeStop(site, zone)}>Safe stop of this zone…</button>
            ) : null}
          </h3>
          <HeatMap
            zone={zone} fill={fill} stale_s={stale_s} onPoint={(device) => setPointed(device?.id ?? null)}
            miners={miners.filter((miner) => (miner.zone ?? "no zone") === zone)}
          />
        </div>
      ))}
      <PointedLine device={shown} fill={fill} stale_s={stale_s} />
      <HeatLegend fill={fill} top={topOf(fill, miners)} />
    </Panel>
  );
}

function FillChoice({ fill }: { readonly fill: FillAbout }): JSX.Element {
  return (
    <label class="inline">
      Fill{" "}
      <select value={fill.id} onChange={(event) => setQuery({ fill: event.currentTarget.value })}>
        {FILLS.map((one) => <option key={one.id} value={one.id}>{one.label}</option>)}
      </select>
    </label>
  );
}

/** What the pointer or the keyboard stands on; a fixed line, so that nothing jumps or covers the map. */
function PointedLine({ device, fill, stale_s }: { readonly device: Device | null; readonly fill: FillAbout; readonly stale_s: number }): JSX.Element {
  if (device === null) return <p class="pointed muted">Point at a miner, or move with the arrow keys; Enter opens it.</p>;
  const age = ageOf(device, now.value);
  const stale = isStale(device, now.value, stale_s);
  const value = fill.value(device);
  return (
    <p class="pointed">
      <strong>{device.id}</strong> {device.model ?? "model unknown"} · {stateWords(device.state).label} ·{" "}
      {fill.label} <Value text={value === null ? "—" : `${value.toFixed(fill.digits)} ${fill.unit}`} />
      {stale ? " (last known)" : ""} · chip <Value text={columnValue("chip_temp_max_c_max", device.latest["chip_temp_max_c_max"])} /> ·{" "}
      <Value text={columnValue("hashrate_ths_mean", device.latest["hashrate_ths_mean"], device.algorithm)} /> ·{" "}
      <span class={stale ? "age stale" : "age"}>{age === null ? "no data yet" : `${stale ? "stale, " : ""}${span(age)} old`}</span>
      {device.inhibited ? <> · <strong>inhibited:</strong> {device.inhibited}</> : null}
    </p>
  );
}

function Equipment({ devices, stale_s }: { readonly devices: readonly Device[]; readonly stale_s: number }): JSX.Element | null {
  const others = devices.filter((device) => device.kind !== "miner").sort((a, b) => a.kind.localeCompare(b.kind) || a.id.localeCompare(b.id));
  if (others.length === 0) return null;
  return (
    <Panel title="Power, cooling and contacts">
      <ul class="equipment">
        {others.map((device) => (
          <li key={device.id} class={isStale(device, now.value, stale_s) ? "stale" : ""}>
            <div class="equipment-head">
              <a href={toDevice(device.site, device.id)}>{device.id}</a>
              <span class="muted">{deviceKind(device.kind)}{device.zone ? ` · ${device.zone}` : ""}</span>
              <Age of={device} limit_s={stale_s} />
            </div>
            <dl>
              {(KEY_COLUMNS[device.kind] ?? Object.keys(COLUMNS)).filter((name) => device.latest[name] != null).slice(0, 5).map((name) => (
                <div key={name}><dt>{columnLabel(name)}</dt><dd>{columnValue(name, device.latest[name])}</dd></div>
              ))}
              {Object.values(device.latest).every((value) => value === null) ? <div><dt>Values</dt><dd><Value text="—" /></dd></div> : null}
            </dl>
          </li>
        ))}
      </ul>
    </Panel>
  );
}

function LatestEvents({ site }: { readonly site: string }): JSX.Element {
  const events = fleet.value.events.filter((event) => event.site === site).slice(0, 8);
  if (events.length === 0) return <Empty title="Nothing logged since this page opened" />;
  return (
    <ul class="latest">
      {events.map((event) => (
        <li key={event.id}><When at_ms={event.at_ms} /> {event.title}</li>
      ))}
    </ul>
  );
}
