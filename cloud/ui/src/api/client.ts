/** The REST client: typed calls, and every failure as one `Problem` that a person can read. */

import { syncClock } from "../state/clock";
import { token } from "../state/session";
import type { ApprovalView, CampaignOrder, CampaignRequest, CampaignView } from "./campaigns";
import type { Certificate, Enrolment, Identity, Ledger, OwnPoint, RawAsked, RawWindow } from "./identity";
import type {
  AlarmView, CommandView, EventView, Items, ModelView, Order, Page, PlanView, RolloutView, Stage, Telemetry, TrainingView,
} from "./types";

const BASE = "/api/v1";

/** What went wrong: a problem+json answer, or the network itself (`status` 0, `code` "network"). */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    title: string,
    readonly detail: string,
  ) {
    super(title);
    this.name = "Problem";
  }
  /** The token is missing, wrong or not allowed to do this. */
  get needsToken(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

type Query = Readonly<Record<string, string | number | null | undefined>>;

/** `/api/v1/path?…` without the parameters that are null, undefined or empty. */
export function address(path: string, query: Query = {}): string {
  const parts = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) {
    if (value !== null && value !== undefined && value !== "") parts.set(name, String(value));
  }
  const text = parts.toString();
  return `${BASE}${path}${text ? `?${text}` : ""}`;
}

async function problemOf(response: Response): Promise<Problem> {
  const fallback = `The cloud answered ${response.status} ${response.statusText}`.trim();
  try {
    const body = (await response.json()) as Record<string, unknown>;
    const words = (name: string): string => (typeof body[name] === "string" ? (body[name] as string) : "");
    return new Problem(response.status, words("code"), words("title") || fallback, words("detail"));
  } catch {
    return new Problem(response.status, "", fallback, "The answer was not in the expected form.");
  }
}

async function call<T>(url: string, init: RequestInit): Promise<T> {
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch (error) {
    if (error instanceof DOMException && error.name === "AbortError") throw error;
    throw new Problem(0, "network", "The cloud cannot be reached", "Check the connection; this page keeps trying.");
  }
  syncClock(response.headers.get("date"));
  if (!response.ok) throw await problemOf(response);
  return (await response.json()) as T;
}

function get<T>(path: string, query: Query = {}, signal?: AbortSignal): Promise<T> {
  return call<T>(address(path, query), {
    headers: { Accept: "application/json" },
    ...(signal ? { signal } : {}),
  });
}

function post<T>(path: string, body: unknown): Promise<T> {
  const headers: Record<string, string> = { "Content-Type": "application/json", Accept: "application/json" };
  if (token.value) headers["Authorization"] = `Bearer ${token.value}`;
  return call<T>(address(path), { method: "POST", headers, body: JSON.stringify(body) });
}

const at = encodeURIComponent;

/** Commands live 30 s: long enough for a slow link, short enough that nobody forgets one. */
const COMMAND_LIFE_S = 30;

export const api = {
  telemetry: (
    site: string, device: string, columns: readonly string[], from_ms: number, limit: number, signal?: AbortSignal,
  ) => get<Telemetry>(`/sites/${at(site)}/telemetry`, { device, columns: columns.join(","), from_ms, limit }, signal),
  alarms: (query: { site?: string | null; state: "open" | "all"; cursor?: string | null }, signal?: AbortSignal) =>
    get<Page<AlarmView>>("/alarms", { ...query, limit: 100 }, signal),
  acknowledge: (id: string, by: string, note: string) =>
    post<AlarmView>(`/alarms/${at(id)}/acknowledge`, note ? { by, note } : { by }),
  events: (
    query: { site?: string | null; kind?: string | null; device?: string | null; cursor?: string | null }, signal?: AbortSignal,
  ) => get<Page<EventView>>("/events", { ...query, limit: 100 }, signal),
  models: (signal?: AbortSignal) => get<Items<ModelView>>("/models", {}, signal),
  rollouts: (signal?: AbortSignal) => get<Items<RolloutView>>("/rollouts", {}, signal),
  /** A site that asks for a second person answers with the approval that waits. */
  rollOut: (body: { site: string; name: string; version: number; stage: Stage; actor: string }) =>
    post<RolloutView | { readonly approval: ApprovalView }>("/rollouts", body),
  campaigns: (signal?: AbortSignal) => get<Items<CampaignView>>("/campaigns", {}, signal),
  startCampaign: (body: CampaignRequest) => post<unknown>("/campaigns", body),
  orderCampaign: (id: string, order: CampaignOrder, body: { actor: string; reason: string; emergency: boolean }) =>
    post<unknown>(`/campaigns/${at(id)}/${order}`, body),
  approvals: (signal?: AbortSignal) => get<Items<ApprovalView>>("/approvals", { state: "waiting" }, signal),
  decide: (id: string, word: "approve" | "refuse", actor: string) =>
    post<ApprovalView>(`/approvals/${at(id)}/${word}`, { actor }),
  identity: (signal?: AbortSignal) => get<Identity>("/identity", {}, signal),
  enrolments: (signal?: AbortSignal) => get<Items<Enrolment>>("/enrolments", {}, signal),
  confirmEnrolment: (id: string, body: { fingerprint: string; actor: string; replace: boolean }) =>
    post<Enrolment>(`/enrolments/${at(id)}/confirm`, body),
  refuseEnrolment: (id: string, body: { actor: string; reason: string }) => post<Enrolment>(`/enrolments/${at(id)}/refuse`, body),
  certificates: (signal?: AbortSignal) => get<Items<Certificate>>("/certificates", {}, signal),
  revoke: (serial: string, body: { actor: string; reason: string }) => post<Certificate>(`/certificates/${at(serial)}/revoke`, body),
  ledger: (site: string, signal?: AbortSignal) => get<Ledger>(`/sites/${at(site)}/ledger`, {}, signal),
  rawWindows: (site: string, signal?: AbortSignal) => get<Items<RawWindow>>(`/sites/${at(site)}/raw-windows`, { limit: 1 }, signal),
  rawAsked: (site: string, signal?: AbortSignal) => get<Items<RawAsked>>(`/sites/${at(site)}/raw-requests`, { limit: 1 }, signal),
  askForRaw: (site: string, body: { from_ms: number; to_ms: number; actor: string }) => post<RawAsked>(`/sites/${at(site)}/raw-requests`, body),
  /** What the machine itself remembers of this time, filled in after gaps. */
  own: (site: string, device: string, from_ms: number, signal?: AbortSignal) =>
    get<{ readonly items: readonly OwnPoint[] }>(`/sites/${at(site)}/devices/${at(device)}/history`, { from_ms: Math.floor(from_ms), limit: 5000 }, signal),
  training: (signal?: AbortSignal) => get<Items<TrainingView>>("/training", {}, signal),
  train: (site: string) => post<TrainingView>("/training", { site, algorithms: null }),
  commands: (site: string, signal?: AbortSignal) => get<Items<CommandView>>("/commands", { site }, signal),
  command: (id: string, signal?: AbortSignal) => get<CommandView>(`/commands/${at(id)}`, {}, signal),
  send: (site: string, order: Order, actor: string) =>
    post<CommandView>("/commands", { site, order, actor, expires_s: COMMAND_LIFE_S }),
  plan: (site: string, order: Order, actor: string) => post<PlanView>("/commands/plans", { site, order, actor }),
  confirm: (plan: string, actor: string, blind: boolean) =>
    post<CommandView>(`/commands/plans/${at(plan)}/confirm`, { actor, expires_s: COMMAND_LIFE_S, blind }),
};
