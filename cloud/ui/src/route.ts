/** Addresses: `#/sites/alpha?fill=power`. The whole state of a screen stands in its address. */

import { signal } from "@preact/signals";

export type Query = Readonly<Record<string, string>>;

export type Route =
  | { readonly screen: "fleet"; readonly query: Query }
  | { readonly screen: "site"; readonly site: string; readonly query: Query }
  | { readonly screen: "miner"; readonly site: string; readonly device: string; readonly query: Query }
  | { readonly screen: "alarms"; readonly query: Query }
  | { readonly screen: "log"; readonly query: Query }
  | { readonly screen: "models"; readonly query: Query }
  | { readonly screen: "access"; readonly query: Query }
  | { readonly screen: "lost"; readonly path: string; readonly query: Query };

export function parseRoute(hash: string): Route {
  const text = hash.replace(/^#/, "") || "/";
  const mark = text.indexOf("?");
  const path = mark < 0 ? text : text.slice(0, mark);
  const query: Query = Object.fromEntries(new URLSearchParams(mark < 0 ? "" : text.slice(mark + 1)));
  let parts: string[];
  try {
    parts = path.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    return { screen: "lost", path, query };
  }
  const [head, site, kind, device] = parts;
  if (head === undefined) return { screen: "fleet", query };
  if (head === "sites" && site && parts.length === 2) return { screen: "site", site, query };
  if (head === "sites" && site && kind === "devices" && device && parts.length === 4) {
    return { screen: "miner", site, device, query };
  }
  if ((head === "alarms" || head === "log" || head === "models" || head === "access") && parts.length === 1) return { screen: head, query };
  return { screen: "lost", path, query };
}

export function href(path: string, query: Readonly<Record<string, string | null | undefined>> = {}): string {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) parts.set(name, value);
  const text = parts.toString();
  return `#${path}${text ? `?${text}` : ""}`;
}

export const toSite = (site: string): string => href(`/sites/${encodeURIComponent(site)}`);
export const toDevice = (site: string, device: string): string =>
  href(`/sites/${encodeURIComponent(site)}/devices/${encodeURIComponent(device)}`);

export const route = signal<Route>({ screen: "fleet", query: {} });

/** Change parts of the query in place (null removes); filters do not fill the browser's history. */
export function setQuery(changes: Readonly<Record<string, string | null>>): void {
  const [path = "/"] = (location.hash.replace(/^#/, "") || "/").split("?");
  const merged: Record<string, string | null> = { ...route.value.query, ...changes };
  history.replaceState(null, "", href(path, merged));
  route.value = parseRoute(location.hash);
}

export function startRouting(): void {
  const read = (): void => {
    const before = route.value;
    route.value = parseRoute(location.hash);
    if (before.screen !== route.value.screen) scrollTo(0, 0);
  };
  addEventListener("hashchange", read);
  read();
}
