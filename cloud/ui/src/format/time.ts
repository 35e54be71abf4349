/** Ages and moments. Ages in words that can be read aloud, moments in the reader's own time zone. */

import { UNKNOWN } from "./numbers";

/** "4 s", "3 min 20 s", "2 h 5 min", "3 d 4 h": two units at most. */
export function span(seconds: number): string {
  const s = Math.max(0, Math.floor(seconds));
  if (s < 60) return `${s} s`;
  const minutes = Math.floor(s / 60);
  if (minutes < 10) return s % 60 ? `${minutes} min ${s % 60} s` : `${minutes} min`;
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  if (hours < 24) return minutes % 60 ? `${hours} h ${minutes % 60} min` : `${hours} h`;
  const days = Math.floor(hours / 24);
  return hours % 24 ? `${days} d ${hours % 24} h` : `${days} d`;
}

/** Age of data: "12 s old", or that there never was any. */
export function ageWords(age_s: number | null): string {
  return age_s === null ? "no data yet" : `${span(age_s)} old`;
}

/** "3 min ago"; a moment that our clock puts slightly ahead is now. */
export function ago(at_ms: number | null, now_ms: number): string {
  return at_ms === null ? UNKNOWN : `${span((now_ms - at_ms) / 1000)} ago`;
}

const two = (value: number): string => String(value).padStart(2, "0");

/** "14:03:22", with the date before it where it is not today's. */
export function moment(at_ms: number | null, now_ms: number): string {
  if (at_ms === null) return UNKNOWN;
  const at = new Date(at_ms);
  const time = `${two(at.getHours())}:${two(at.getMinutes())}:${two(at.getSeconds())}`;
  const sameDay = at.toDateString() === new Date(now_ms).toDateString();
  return sameDay ? time : `${at.getFullYear()}-${two(at.getMonth() + 1)}-${two(at.getDate())} ${time}`;
}

/** Unambiguous, for tooltips and exports. */
export function iso(at_ms: number | null): string {
  return at_ms === null ? "unknown" : new Date(at_ms).toISOString().replace(/\.\d+Z$/, "Z");
}
