/** Whether everything that a site recorded has arrived: how old, what is missing, what was given up and why. */

import type { JSX } from "preact";
import { useEffect } from "preact/hooks";
import { api } from "../api/client";
import type { Ledger, RawAsked, RawWindow } from "../api/identity";
import { bytes } from "../format/numbers";
import { span } from "../format/time";
import { href } from "../route";
import { utcNow } from "../state/clock";
import type { Site } from "../state/fleet";
import { useResource } from "../state/resource";
import { open } from "../state/store";
import { setBack, streamName, sumStreams, type StreamSum } from "../state/sync";
import { Age, Badge, Empty, Fact, Failure, Loading, Panel, When, type Tone } from "./basics";
import { ask } from "./confirm";

const POLL_MS = 15_000;
const WINDOW_MS = 600_000;
const grouped = new Intl.NumberFormat("en");
const count = (number: number): string => grouped.format(number);

export function Sync({ site, limit_s }: { readonly site: Site; readonly limit_s: number }): JSX.Element {
  const ledger = useResource(`ledger ${site.id}`, (abort) => api.ledger(site.id, abort));
  const windows = useResource(`windows ${site.id}`, (abort) => api.rawWindows(site.id, abort));
  const asked = useResource(`asked ${site.id}`, (abort) => api.rawAsked(site.id, abort));
  const store = useResource(`store ${site.id}`, (abort) => api.events({ site: site.id, kind: "store" }, abort));
  const reload = (): void => [ledger, windows, asked, store].forEach((one) => one.reload());
  useEffect(() => {
    const timer = setInterval(reload, POLL_MS);
    return () => clearInterval(timer);
  }, [site.id]);
  const failed = [ledger, windows, store].find((one) => one.problem !== null);
  const alarms = open.value.filter((alarm) => alarm.site === site.id && (alarm.kind === "store" || /^(store|outbox|disk|rows-lost)/.test(alarm.key)));
  return (
    <Panel title="What has arrived" aside={<Age of={site} limit_s={limit_s} />}>
      {failed?.problem ? <Failure problem={failed.problem} kept_ms={failed.loaded_ms} retry={reload} /> : null}
      {alarms.map((alarm) => <p key={alarm.id} class="note warn-note"><strong>{alarm.title}.</strong> {alarm.advice}</p>)}
      {ledger.data ? <Arrived site={site} ledger={ledger.data} /> : ledger.problem ? null : <Loading what="the ledger" />}
      <Raw site={site} newest={windows.data?.items[0] ?? null} asked={asked.data?.items[0] ?? null} reload={reload} />
      {store.data?.items.length ? (
        <>
          <h3 class="pad">The site's store says</h3>
          <ul class="latest">{store.data.items.slice(0, 4).map((event) => <li key={event.id}><When at_ms={event.at_ms} /> {event.title}</li>)}</ul>
          {store.data.items.length > 4 ? <p class="pad"><a href={href("/log", { site: site.id, kind: "store" })}>All of it</a></p> : null}
        </>
      ) : null}
    </Panel>
  );
}

/** One sentence on the whole, then one line per stream. */
function verdict(site: Site, sums: readonly StreamSum[]): readonly [Tone, string, string] {
  const missing = sums.reduce((sum, one) => sum + one.missing, 0);
  const lost = sums.reduce((sum, one) => sum + one.lost_rows, 0);
  if (!site.online) return ["unknown", "Not connected", "What the site records meanwhile waits on it, and is sent when the line is back."];
  if (missing) return ["info", "Catching up", `${missing} batch${missing === 1 ? "" : "es"} that the site numbered ${missing === 1 ? "is" : "are"} not here yet: the newest go first, the past follows.`];
  if (lost) return ["warn", "Complete but for what was given up", "Nothing that the site still has is missing here."];
  return ["good", "✓ Complete", "Every batch that the site numbered up to its newest is committed here."];
}

function Arrived({ site, ledger }: { readonly site: Site; readonly ledger: Ledger }): JSX.Element {
  const sums = sumStreams(ledger.streams);
  if (sums.length === 0) return <Empty title="Nothing has arrived yet">The first batch comes within seconds of the first connection.</Empty>;
  const [tone, word, why] = verdict(site, sums);
  const openings = new Set(ledger.streams.map((one) => one.epoch)).size;
  return (
    <>
      <p class="pad"><Badge tone={tone}>{word}</Badge> {why}</p>
      <div class="table-scroll" role="region" aria-label="What has arrived, by stream" tabIndex={0}>
        <table class="streams">
          <thead><tr><th scope="col">Stream</th><th scope="col">Rows</th><th scope="col">Not here yet</th><th scope="col">Given up</th><th scope="col">Came twice</th></tr></thead>
          <tbody>
            {sums.map((one) => (
              <tr key={one.stream}>
                <th scope="row">{streamName(one.stream)}</th>
                <td>{count(one.rows)}</td>
                <td class={one.missing ? "info-words" : ""}>{one.missing ? `${count(one.missing)} batches` : "none"}</td>
                <td class={one.lost_rows ? "not-ok-words" : ""}>{one.lost_rows ? `${count(one.lost_rows)} rows` : "none"}</td>
                <td class="muted">{one.twice}{one.unusable ? ` · ${one.unusable} unusable` : ""}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </div>
      {sums.some((one) => one.lost_rows) ? (
        <p class="pad muted">Given up: the site's store was full or damaged and had to let rows go; it said which, so that the gap is known and not silent. The log tells when.</p>
      ) : null}
      {sums.some((one) => one.unusable) ? <p class="pad muted">Unusable batches are kept in quarantine with the reason, and can be replayed after an upgrade.</p> : null}
      {ledger.rows_apart ? <p class="pad muted">{setBack(ledger.rows_apart)}</p> : null}
      <p class="pad muted">The site's store was opened {openings} time{openings === 1 ? "" : "s"}; a batch that came twice was stored once.</p>
    </>
  );
}

function Raw({ site, newest, asked, reload }: { readonly site: Site; readonly newest: RawWindow | null; readonly asked: RawAsked | null; readonly reload: () => void }): JSX.Element {
  return (
    <div class="pad raw-window">
      <dl class="facts narrow">
        <Fact name="Newest raw window">
          {newest ? <><When at_ms={newest.from_ms} />, {span((newest.to_ms - newest.from_ms) / 1000)}: {count(newest.samples)} samples of {newest.devices.length} {newest.kind}s, {bytes(newest.size)}</> : "none yet"}
        </Fact>
        <Fact name="Last asked for">
          {asked ? <>by {asked.actor}, <When at_ms={asked.asked_ms} relative />{asked.sent === false ? ", and the broker did not take it" : asked.sent === null ? ", not known whether it was sent" : ""}</> : "never"}
        </Fact>
      </dl>
      <button type="button" onClick={() => askForRaw(site, reload)}>Ask for raw samples…</button>
    </div>
  );
}

function askForRaw(site: Site, reload: () => void): void {
  ask({
    title: `Ask ${site.name} for raw samples?`,
    verb: "Ask for the last 10 minutes",
    body: (
      <p>
        The site sends every reading of the last 10 minutes as far as it still has them, behind everything else and at a bounded rate (4 MB at most). Nothing
        changes on the site.{site.online ? "" : " It is not connected now: the question does not wait for it."}
      </p>
    ),
    run: async (actor) => {
      const to_ms = utcNow();
      await api.askForRaw(site.id, { from_ms: to_ms - WINDOW_MS, to_ms, actor });
      reload();
    },
  });
}
