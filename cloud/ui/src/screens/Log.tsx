/** Automation log: everything that was decided or happened, newest first, with the reasons inside. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api, type Problem } from "../api/client";
import type { EventView } from "../api/types";
import { EVENT_KINDS, kindWords } from "../format/words";
import { route, setQuery } from "../route";
import { grouped } from "../state/groups";
import { problemOf, useResource } from "../state/resource";
import { devicesOf, fleet } from "../state/store";
import { Empty, Failure, Loading } from "../components/basics";
import { EventGroup, EventLine } from "../components/EventLine";
import { SiteFilter } from "./Alarms";

function knownDevices(site: string | null): string[] {
  const ids = site === null ? [...fleet.value.devices.values()].flatMap((devices) => [...devices.keys()]) : devicesOf(site).map((device) => device.id);
  return [...new Set(ids)].sort();
}

export function Log(): JSX.Element {
  const query = route.value.query;
  const [site, kind, device] = [query["site"] ?? null, query["kind"] ?? null, query["device"] ?? ""];
  const list = useResource(`events ${site} ${kind} ${device}`, (signal) => api.events({ site, kind, device }, signal));
  const [more, setMore] = useState<{ items: EventView[]; cursor: string | null } | null>(null);
  const [problem, setProblem] = useState<Problem | null>(null);
  useEffect(() => setMore(null), [site, kind, device, list.loaded_ms]);
  // What is being typed outlives a render by new data; it goes once the address names another device.
  const [typing, setTyping] = useState<{ over: string; text: string } | null>(null);
  const typed = typing?.over === device ? typing.text : device;

  const fits = (event: EventView): boolean =>
    (site === null || event.site === site) && (kind === null || event.kind === kind) && (device === "" || event.device === device);
  const merged = new Map<string, EventView>();
  for (const event of [...fleet.value.events, ...(list.data?.items ?? []), ...(more?.items ?? [])]) merged.set(event.id, event);
  const shown = [...merged.values()].filter(fits).sort((a, b) => b.at_ms - a.at_ms);
  const cursor = more === null ? (list.data?.next_cursor ?? null) : more.cursor;

  const loadMore = async (): Promise<void> => {
    try {
      const page = await api.events({ site, kind, device, cursor });
      setProblem(null);
      setMore({ items: [...(more?.items ?? []), ...page.items], cursor: page.next_cursor });
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
            <input
              value={typed}
              size={10}
              placeholder="any"
              list="devices"
              onInput={(event) => setTyping({ over: device, text: event.currentTarget.value })}
              onChange={(event) => {
                setTyping(null);
                setQuery({ device: event.currentTarget.value.trim() || null });
              }}
            />
            <datalist id="devices">{knownDevices(site).map((id) => <option key={id} value={id} />)}</datalist>
          </label>
          <SiteFilter site={site} />
        </div>
      </div>
      {failed ? <Failure problem={failed} kept_ms={list.loaded_ms} retry={list.reload} /> : null}
      {list.data === null && list.loading && shown.length === 0 ? <Loading what="the log" /> : null}
      {shown.length ? (
        <ol class="log">{grouped(shown).map((line) =>
          "events" in line ? (
            <EventGroup key={line.events[0]?.id} group={line} showSite={site === null} />
          ) : (
            <EventLine key={line.id} event={line} showSite={site === null} />
          ),
        )}</ol>
      ) : list.data !== null ? (
        <Empty title="Nothing in the log">{kind || device || site ? "No entry fits these filters." : "Entries appear as the sites act."}</Empty>
      ) : null}
      {cursor ? <button type="button" class="more" onClick={loadMore}>Older entries</button> : null}
    </>
  );
}
