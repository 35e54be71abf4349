import { describe, expect, it } from "vitest";
import { contrast, inkOn, luminance, rampColour, share } from "./ramp";

const STEPS = Array.from({ length: 101 }, (_, i) => i / 100);

describe("the ramp", () => {
  it("carries readable text at every step (WCAG AA)", () => {
    for (const step of STEPS) expect(contrast(rampColour(step), inkOn(rampColour(step)))).toBeGreaterThanOrEqual(4.5);
  });
  it("only gets lighter, so that it reads without colour vision", () => {
    const light = STEPS.map((step) => luminance(rampColour(step)));
    expect(light).toEqual([...light].sort((a, b) => a - b));
  });
  it("clamps what lies outside", () => {
    expect(rampColour(-1)).toEqual(rampColour(0));
    expect(rampColour(7)).toEqual(rampColour(1));
  });
});

describe("share", () => {
  it("is unknown for unknown values and empty scales", () => {
    expect(share(null, 0, 10)).toBeNull();
    expect(share(NaN, 0, 10)).toBeNull();
    expect(share(5, 10, 10)).toBeNull();
    expect(share(5, 0, 10)).toBe(0.5);
  });
});
