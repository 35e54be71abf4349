import type { JSX } from "preact";
import { css, rampColour, RAMP_STEPS } from "../format/ramp";
import type { FillAbout } from "../state/heat";

const LOOKS: readonly (readonly [string, string, string])[] = [
  ["running", "", "running"],
  ["settling", "~", "starting, tuning"],
  ["stopped", "■", "stopped"],
  ["failed", "✕", "failure"],
  ["inhibited", "!", "inhibited"],
  ["odd", "▲", "anomaly"],
  ["stale hatched", "?", "stale or unknown"],
];

export function HeatLegend({ fill, top }: { readonly fill: FillAbout; readonly top: number }): JSX.Element {
  return (
    <div class="legend">
      <div class="ramp" aria-label={`Colours from ${fill.low} to ${top} ${fill.unit}`} role="img">
        <span>{fill.low}</span>
        <span class="ramp-bar">
          {Array.from({ length: RAMP_STEPS * 2 }, (_, i) => (
            <span key={i} style={{ backgroundColor: css(rampColour(i / (RAMP_STEPS * 2 - 1))) }} />
          ))}
        </span>
        <span>{top} {fill.unit}</span>
      </div>
      <ul class="looks">
        {LOOKS.map(([look, sign, text]) => (
          <li key={text}>
            <span class={`cell sample ${look}`} aria-hidden="true">{sign ? <span class="sign">{sign}</span> : null}</span>
            {text}
          </li>
        ))}
      </ul>
    </div>
  );
}
