/** Fleet: one tile per site. What is wrong comes first, and every number has its age. */

import type { JSX } from "preact";
import { algorithmName, efficiency, hashingText, hashrate, known, power } from "../format/numbers";
import { modeWords } from "../format/words";
import { toSite, href } from "../route";
import { now } from "../state/clock";
import { isStale, staleAfter, type Site } from "../state/fleet";
import { fleet, open, sites } from "../state/store";
import { Age, Badge, Empty, SeverityMark, Value, WaitingForData, When } from "../components/basics";

export function Fleet(): JSX.Element {
  if (!fleet.value.loaded) return <WaitingForData />;
  const all = worstFirst(sites.value);
  if (all.length === 0) {
    return (
      <Empty title="No site has reported yet">
        A site appears here with its first message. Start an agent whose site file names this cloud's broker.
      </Empty>
    );
  }
  return (
    <>
      <h1 class="sr">Fleet</h1>
      <FleetLine sites={all} />
      <ul class="tiles">{all.map((site) => <li key={site.id}><Tile site={site} /></li>)}</ul>
    </>
  );
}

/** Tripped, then urgent, then not heard, then the rest by name. */
function worstFirst(all: readonly Site[]): Site[] {
  const rank = (site: Site): number => (site.zones.some((zone) => zone.tripped) ? 0 : site.urgent_alarms ? 1 : site.online ? 3 : 2);
  return all.toSorted((a, b) => rank(a) - rank(b));
}

/** The whole fleet in one sentence, with stale sites left out and named. */
function FleetLine({ sites: all }: { readonly sites: readonly Site[] }): JSX.Element {
  const fresh = all.filter((site) => !isStale(site, now.value, staleAfter(site)));
  const powers = fresh.map((site) => site.power_w ?? site.miners_power_w).filter(known);
  const watts = powers.length ? powers.reduce((sum, one) => sum + one, 0) : null;
  const urgent = open.value.filter((alarm) => alarm.severity === "urgent");
  const stale = all.length - fresh.length;
  return (
    <div class="fleet-line">
      <span><strong>{all.length}</strong> {all.length === 1 ? "site" : "sites"}</span>
      <span><strong><Value text={power(watts)} /></strong> now{powers.length < fresh.length ? `, ${fresh.length - powers.length} unknown` : ""}</span>
      {stale ? <span class="stale-note"><strong>{stale}</strong> stale, not in the sum</span> : null}
      {urgent.length ? (
        <a class="urgent-note" href={href("/alarms")}>
          <SeverityMark severity="urgent" /> {urgent.length === 1 ? <><strong>{fleet.value.sites.get(urgent[0]?.site ?? "")?.name}</strong>: {urgent[0]?.title}</> : `${urgent.length} urgent alarms`}
        </a>
      ) : (
        <span class="calm">No urgent alarms</span>
      )}
    </div>
  );
}

function Tile({ site }: { readonly site: Site }): JSX.Element {
  const limit = staleAfter(site);
  const stale = !site.online || isStale(site, now.value, limit);
  const tripped = site.zones.some((zone) => zone.tripped);
  return (
    <article class={`tile${stale ? " stale" : ""}${tripped ? " tripped" : ""}`}>
      <header>
        <h2><a href={toSite(site.id)}>{site.name}</a></h2>
        {site.simulated ? <Badge tone="plain" title="A simulated site: no real machines">Simulated</Badge> : null}
        {site.online ? null : <Badge tone="bad">✕ Offline</Badge>}
      </header>
      {stale ? (
        <p class="last-known">
          {site.online ? "Not sending data." : <>Not connected; last heard <When at_ms={site.last_seen_ms} relative />.</>} Nothing
          below is from now.
        </p>
      ) : null}
      <div class="tile-top">
        <div class="big">
          <span class="big-value"><Value text={power(site.power_w)} /></span>
          <span class="big-label">meter{site.power_w === null && site.miners_power_w !== null ? ` (miners say ${power(site.miners_power_w)})` : ""}</span>
        </div>
        <div class="big">
          <span class="big-value">{hashingText(site.miners_hashing, site.miners_fresh, site.miners_total).split("/")[0]}<small>/{site.miners_total}</small></span>
          <span class="big-label">miners hashing{site.miners_fresh > 0 && site.miners_fresh < site.miners_total ? `, ${site.miners_total - site.miners_fresh} unknown` : ""}</span>
        </div>
        <div class="big">
          <span class={`big-value ${site.urgent_alarms ? "urgent-ink" : ""}`}>{site.open_alarms}</span>
          <span class="big-label">open alarms{site.urgent_alarms ? `, ${site.urgent_alarms} urgent` : ""}</span>
        </div>
      </div>
      <Algorithms site={site} />
      <ul class="zone-chips">
        {site.zones.map((zone) => {
          const words = modeWords(zone.tripped ? "tripped" : zone.mode);
          return (
            <li key={zone.id}>
              <span class="chip-name">{zone.id}</span>{" "}
              <Badge tone={stale ? "unknown" : words.tone} title={words.about}>{stale ? "was " : ""}{words.label}</Badge>
              {!stale && zone.cooling_proven === false ? <Badge tone="warn">Cooling not proven</Badge> : null}
            </li>
          );
        })}
      </ul>
      <footer>
        <Age of={site} limit_s={limit} />
        <span class="tile-model">
          {site.model ? <>{site.model.name} v{site.model.version} · {site.model.stage}</> : "No model; rules only"}
        </span>
      </footer>
    </article>
  );
}

/** A row for each algorithm: TH/s of different algorithms are different goods and are never added. */
export function Algorithms({ site }: { readonly site: Site }): JSX.Element {
  const rows = Object.entries(site.algorithms);
  if (rows.length === 0) return <p class="muted">No miner has reported a hashrate yet.</p>;
  return (
    <table class="algorithms">
      <thead>
        <tr><th scope="col">Algorithm</th><th scope="col">Hashrate</th><th scope="col">Efficiency</th><th scope="col">Hashing</th></tr>
      </thead>
      <tbody>
        {rows.map(([name, totals]) => (
          <tr key={name}>
            <th scope="row">{algorithmName(name)}</th>
            <td><Value text={hashrate(totals.hashrate_ths, name)} /></td>
            <td><Value text={efficiency(totals.j_per_th, name)} /></td>
            <td>{hashingText(totals.hashing, totals.hashrate_ths === null ? 0 : totals.miners, totals.miners)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}
