/** Alarm inbox: worst first, each with what to do; acknowledged is not the same as gone. */

import type { JSX } from "preact";
import { useEffect, useState } from "preact/hooks";
import { api } from "../api/client";
import type { AlarmView } from "../api/types";
import { route, setQuery } from "../route";
import { sortAlarms } from "../state/fleet";
import { useResource } from "../state/resource";
import { fleet, sites } from "../state/store";
import { AlarmCard } from "../components/AlarmCard";
import { Empty, Failure, Loading } from "../components/basics";

export function Alarms(): JSX.Element {
  const query = route.value.query;
  const state = query["state"] === "all" ? "all" : "open";
  const site = query["site"] ?? null;
  const severity = query["severity"] ?? "";
  const list = useResource(`alarms ${state} ${site}`, (signal) => api.alarms({ site, state }, signal));
  const [more, setMore] = useState<{ items: AlarmView[]; cursor: string | null } | null>(null);
  useEffect(() => setMore(null), [state, site, list.loaded_ms]);

  // The live stream is newer than any page that was loaded.
  const merged = new Map([...(list.data?.items ?? []), ...(more?.items ?? [])].map((alarm) => [alarm.id, alarm]));
  for (const alarm of fleet.value.alarms.values()) if (site === null || alarm.site === site) merged.set(alarm.id, alarm);
  const shown = sortAlarms(merged.values()).filter(
    (alarm) => (state === "all" || alarm.cleared_ms === null) && (severity === "" || alarm.severity === severity),
  );
  const cursor = more === null ? (list.data?.next_cursor ?? null) : more.cursor;
  const loadMore = async (): Promise<void> => {
    const page = await api.alarms({ site, state, cursor });
    setMore({ items: [...(more?.items ?? []), ...page.items], cursor: page.next_cursor });
  };

  return (
    <>
      <div class="page-head">
        <h1>Alarms <span class="count">{shown.length}</span></h1>
        <Filters state={state} site={site} severity={severity} />
      </div>
      {list.problem ? <Failure problem={list.problem} kept_ms={list.loaded_ms} retry={list.reload} /> : null}
      {list.data === null && list.loading && shown.length === 0 ? <Loading what="alarms" /> : null}
      {shown.length ? (
        <ul class="alarms cards">{shown.map((alarm) => <AlarmCard key={alarm.id} alarm={alarm} inbox />)}</ul>
      ) : list.data !== null ? (
        <Empty title={state === "open" ? "No open alarms" : "No alarms"}>{state === "open" ? "Cleared ones are under “All”." : ""}</Empty>
      ) : null}
      {cursor ? <button type="button" class="more" onClick={loadMore}>Older alarms</button> : null}
    </>
  );
}

function Filters({ state, site, severity }: { readonly state: string; readonly site: string | null; readonly severity: string }): JSX.Element {
  return (
    <div class="filters">
      <div class="choice" role="group" aria-label="Which alarms">
        <button type="button" aria-pressed={state === "open"} onClick={() => setQuery({ state: null })}>Open</button>
        <button type="button" aria-pressed={state === "all"} onClick={() => setQuery({ state: "all" })}>All</button>
      </div>
      <label class="inline">Severity{" "}
        <select value={severity} onChange={(event) => setQuery({ severity: event.currentTarget.value || null })}>
          <option value="">any</option><option value="urgent">urgent</option><option value="high">high</option><option value="low">low</option>
        </select>
      </label>
      <SiteFilter site={site} />
    </div>
  );
}

export function SiteFilter({ site }: { readonly site: string | null }): JSX.Element {
  return (
    <label class="inline">Site{" "}
      <select value={site ?? ""} onChange={(event) => setQuery({ site: event.currentTarget.value || null })}>
        <option value="">all</option>
        {sites.value.map((one) => <option key={one.id} value={one.id}>{one.name}</option>)}
      </select>
    </label>
  );
}
