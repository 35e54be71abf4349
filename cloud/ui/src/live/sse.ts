/**
 * Parser of the server-sent-events format, fed with whatever pieces of text arrive.
 *
 * Our own rather than the browser's EventSource, because that one hides comments: the heartbeats are what
 * tells a quiet site from a dead connection.
 */

export interface SseEvent {
  readonly type: string;
  readonly data: string;
  readonly id: string | null;
}

export class SseParser {
  private rest = "";
  private type = "";
  private data: string[] = [];
  private id: string | null = null;

  /** The events completed by this piece; a comment or a half event gives none. */
  feed(text: string): SseEvent[] {
    // A lone CR at the end may be half of a CRLF, so it waits for the next piece.
    const whole = this.rest + text;
    const held = whole.endsWith("\r") ? "\r" : "";
    const lines = whole.slice(0, whole.length - held.length).split(/\r\n|\n|\r/);
    this.rest = (lines.pop() ?? "") + held;
    const events: SseEvent[] = [];
    for (const line of lines) {
      const event = this.line(line);
      if (event) events.push(event);
    }
    return events;
  }

  private line(line: string): SseEvent | null {
    if (line === "") return this.dispatch();
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.type = value;
    else if (field === "data") this.data.push(value);
    else if (field === "id") this.id = value;
    return null;
  }

  private dispatch(): SseEvent | null {
    const event = this.data.length ? { type: this.type || "message", data: this.data.join("\n"), id: this.id } : null;
    this.type = "";
    this.data = [];
    return event;
  }
}
