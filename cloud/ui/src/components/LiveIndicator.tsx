import type { JSX } from "preact";
import { linkWords } from "../live/link";
import { link } from "../live/stream";
import { now } from "../state/clock";
import { span } from "../format/time";

const SIGN = { good: "●", warn: "◐", bad: "○" } as const;

/** Whether what is on the screen is moving, and if not, since when. */
export function LiveIndicator(): JSX.Element {
  const words = linkWords(link.value, now.value, span);
  return (
    <span class={`live ${words.tone}`} role="status" aria-live="off">
      <span aria-hidden="true">{SIGN[words.tone]}</span> {words.text}
    </span>
  );
}
