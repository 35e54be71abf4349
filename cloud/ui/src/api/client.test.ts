import { afterEach, describe, expect, it, vi } from "vitest";
import { token } from "../state/session";
import { address, api, Problem } from "./client";

const reply = (status: number, body: string, type = "application/json") => () =>
  Promise.resolve(new Response(body, { status, headers: { "content-type": type } }));

afterEach(() => {
  vi.unstubAllGlobals();
  token.value = "";
});

async function failure(call: Promise<unknown>): Promise<Problem> {
  const error = await call.then(() => null, (reason: unknown) => reason);
  expect(error).toBeInstanceOf(Problem);
  return error as Problem;
}

describe("addresses", () => {
  it("leave out what is not asked", () => {
    expect(address("/alarms", { site: null, state: "open", cursor: undefined, limit: 5 })).toBe("/api/v1/alarms?state=open&limit=5");
    expect(address("/models")).toBe("/api/v1/models");
  });
});

describe("failures", () => {
  it("a problem+json speaks for itself", async () => {
    vi.stubGlobal("fetch", reply(401, '{"title":"A bearer token is needed","detail":"no token","code":"unauthorized"}'));
    const problem = await failure(api.models());
    expect([problem.message, problem.detail, problem.code, problem.needsToken]).toEqual(["A bearer token is needed", "no token", "unauthorized", true]);
  });
  it("anything else is still told in words", async () => {
    vi.stubGlobal("fetch", reply(502, "<html>", "text/html"));
    const problem = await failure(api.models());
    expect(problem.message).toContain("502");
    expect(problem.needsToken).toBe(false);
  });
  it("a network that is away is not an empty list", async () => {
    vi.stubGlobal("fetch", () => Promise.reject(new TypeError("failed to fetch")));
    expect((await failure(api.models())).code).toBe("network");
  });
});

describe("writes", () => {
  it("carry the token, reads do not", async () => {
    const seen: RequestInit[] = [];
    vi.stubGlobal("fetch", (_url: string, init: RequestInit) => {
      seen.push(init);
      return Promise.resolve(new Response("{}", { status: 200 }));
    });
    token.value = "secret";
    await api.send("alpha", { order: "safe-stop", zone: null }, "Ada");
    await api.models();
    expect(new Headers(seen[0]?.headers).get("authorization")).toBe("Bearer secret");
    expect(JSON.parse(String(seen[0]?.body))).toEqual({ site: "alpha", order: { order: "safe-stop", zone: null }, actor: "Ada", expires_s: 30 });
    expect(new Headers(seen[1]?.headers).has("authorization")).toBe(false);
  });
});
