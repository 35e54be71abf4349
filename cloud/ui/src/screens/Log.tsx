/** Automation log: everything that was decided or happened, newest first, with the reasons inside. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api, type Problem } from "../api/client";
import type { EventView } from "../api/types";
import { EVENT_KINDS, kindWords } from "../format/words";
import { route, setQuery } from "../route";
import { problemOf, useResource } from "../state/resource";
import { fleet } from "../state/store";
import { Empty, Failure, Loading } from "../components/basics";
import { EventLine } from "../components/EventLine";
import { SiteFilter } from "./Alarms";

/** Pages looked through per click when a device filter leaves little of each. */
const PAGES_PER_CLICK = 5;

export function Log(): JSX.Element {
  const query = route.value.query;
  const [site, kind, device] = [query["site"] ?? null, query["kind"] ?? null, query["device"] ?? ""];
  const list = useResource(`events ${site} ${kind}`, (signal) => api.events({ site, kind }, signal));
  const [more, setMore] = useState<{ items: EventView[]; cursor: string | null } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => setMore(null), [site, kind, list.loaded_ms]);

  const fits = (event: EventView): boolean =>
    (site === null || event.site === site) && (kind === null || event.kind === kind) && (device === "" || (event.device ?? "").includes(device));
  const merged = new Map<string, EventView>();
  for (const event of [...fleet.value.events, ...(list.data?.items ?? []), ...(more?.items ?? [])]) merged.set(event.id, event);
  const shown = [...merged.values()].filter(fits).sort((a, b) => b.at_ms - a.at_ms);
  const cursor = more === null ? (list.data?.next_cursor ?? null) : more.cursor;

  const loadMore = async (): Promise<void> => {
    try {
      const items = [...(more?.items ?? [])];
      let next = cursor;
      for (let page = 0; page < PAGES_PER_CLICK && next !== null; page += 1) {
        const answer = await api.events({ site, kind, cursor: next });
        items.push(...answer.items);
        next = answer.next_cursor;
        if (answer.items.some(fits)) break;
      }
      setProblem(null);
      setMore({ items, cursor: next });
    } catch (error) {
      setProblem(problemOf(error));
    }
  };

  const failed = problem ?? list.problem;
  return (
    <>
      <div class="page-head">
        <h1>Automation log</h1>
        <div class="filters">
          <label class="inline">Kind{" "}
            <select value={kind ?? ""} onChange={(event) => setQuery({ kind: event.currentTarget.value || null })}>
              <option value="">all</option>
              {EVENT_KINDS.map((one) => <option key={one} value={one}>{kindWords(one)}</option>)}
            </select>
          </label>
          <label class="inline">Device{" "}
            <input value={device} size={10} placeholder="any" onInput={(event) => setQuery({ device: event.currentTarget.value.trim() || null })} />
          </label>
          <SiteFilter site={site} />
        </div>
      </div>
      {failed ? <Failure problem={failed} kept_ms={list.loaded_ms} retry={list.reload} /> : null}
      {list.data === null && list.loading && shown.length === 0 ? <Loading what="the log" /> : null}
      {shown.length ? (
        <ol class="log">{shown.map((event) => <EventLine key={event.id} event={event} showSite={site === null} />)}</ol>
      ) : list.data !== null ? (
        <Empty title="Nothing in the log">{kind || device || site ? "No entry fits these filters." : "Entries appear as the sites act."}</Empty>
      ) : null}
      {cursor ? <button type="button" class="more" onClick={loadMore}>Older entries</button> : null}
    </>
  );
}
