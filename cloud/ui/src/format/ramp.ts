/**
 * The heat map's colours: one ramp from dark blue to light yellow (after cividis, which is read the same
 * with and without colour vision), always with the number written on it.
 */

import { known } from "./numbers";

type Rgb = readonly [number, number, number];

const STOPS: readonly Rgb[] = [
  [12, 38, 84], [48, 68, 112], [88, 97, 120], [124, 123, 120], [163, 151, 112], [205, 182, 92], [253, 224, 78],
];

export const RAMP_STEPS = STOPS.length;

/** 0..1 → colour; values outside are clamped. */
export function rampColour(share: number): Rgb {
  const place = Math.min(1, Math.max(0, share)) * (STOPS.length - 1);
  const low = Math.min(STOPS.length - 2, Math.floor(place));
  const part = place - low;
  const a = STOPS[low] as Rgb;
  const b = STOPS[low + 1] as Rgb;
  const mix = (i: 0 | 1 | 2): number => Math.round(a[i] + (b[i] - a[i]) * part);
  return [mix(0), mix(1), mix(2)];
}

export function css(colour: Rgb): string {
  return `rgb(${colour[0]} ${colour[1]} ${colour[2]})`;
}

/** Relative luminance as in WCAG 2.2. */
export function luminance(colour: Rgb): number {
  const [r, g, b] = colour.map((channel) => {
    const c = channel / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

export function contrast(a: Rgb, b: Rgb): number {
  const [high, low] = [luminance(a), luminance(b)].sort((x, y) => y - x) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

// Pure black and white: between them every colour has one with at least 4.58 to 1.
export const INK_DARK: Rgb = [0, 0, 0];
export const INK_LIGHT: Rgb = [255, 255, 255];

/** Black or white, whichever reads better on this colour. */
export function inkOn(colour: Rgb): Rgb {
  return contrast(colour, INK_DARK) >= contrast(colour, INK_LIGHT) ? INK_DARK : INK_LIGHT;
}

/** Where a value lies between the ends of its scale; null stays unknown. */
export function share(value: number | null | undefined, low: number, high: number): number | null {
  return known(value) && high > low ? (value - low) / (high - low) : null;
}
