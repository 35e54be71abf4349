import { describe, expect, it } from "vitest";
import { SseParser } from "./sse";
import { messageOf } from "./stream";

const WIRE = ': hello\n\nid: 7\nevent: site\ndata: {"id":\ndata: "a"}\n\nevent: alarm\r\ndata:{}\r\n\r\ndata: plain\n\n';
const EVENTS = [
  { type: "site", data: '{"id":\n"a"}', id: "7" },
  { type: "alarm", data: "{}", id: "7" },
  { type: "message", data: "plain", id: "7" },
];

describe("the event parser", () => {
  it("reads events, comments and several data lines", () => expect(new SseParser().feed(WIRE)).toEqual(EVENTS));
  it("does not care where the pieces are cut", () => {
    for (let size = 1; size < WIRE.length; size += 1) {
      const parser = new SseParser();
      const found = [];
      for (let i = 0; i < WIRE.length; i += size) found.push(...parser.feed(WIRE.slice(i, i + size)));
      expect(found).toEqual(EVENTS);
    }
  });
  it("gives nothing for half an event", () => expect(new SseParser().feed("event: site\ndata: {}\n")).toEqual([]));
});

describe("messages", () => {
  it("skips what a newer cloud may send", () => expect(messageOf({ type: "weather", data: "{}", id: null })).toBeNull());
  it("skips what is not JSON", () => expect(messageOf({ type: "site", data: "{", id: null })).toBeNull());
  it("keeps the rest", () => expect(messageOf({ type: "event", data: '{"id":"e"}', id: null })).toEqual({ type: "event", body: { id: "e" } }));
});
