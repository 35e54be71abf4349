import { describe, expect, it } from "vitest";
import { columnLabel, columnValue } from "./columns";
import { EVENT_KINDS, featureWords, kindWords, modeWords, qualityWords, sentence, stateWords } from "./words";

describe("words", () => {
  it("say that something is unknown instead of guessing", () => {
    expect(modeWords(null).tone).toBe("unknown");
    expect(modeWords("hover").label).toBe("hover");
    expect(stateWords(null).look).toBe("unknown");
    expect(stateWords("dancing").look).toBe("unknown");
    expect(qualityWords(null)).toBe("Unknown");
    expect(qualityWords(99)).toBe("Unknown");
  });
  it("have a name for every kind of event and a fallback for new ones", () => {
    for (const kind of EVENT_KINDS) expect(kindWords(kind)).not.toBe(kind);
    expect(kindWords("new-thing")).toBe("New thing");
    expect(featureWords("fan_weakest")).toBe("Speed of the slowest fan for its duty");
    expect(featureWords("new_feature")).toBe("New feature");
    expect(sentence("top_feature")).toBe("Top feature");
  });
});

describe("columns", () => {
  it("read contacts as words", () => {
    expect(columnValue("estop_pressed_max", 1)).toBe("PRESSED");
    expect(columnValue("estop_pressed_max", 0)).toBe("released");
    expect(columnValue("door_open_max", null)).toBe("—");
  });
  it("carry their unit", () => {
    expect(columnValue("chip_temp_max_c_max", 84)).toBe("84.0 °C");
    expect(columnValue("hashrate_ths_mean", 0.0162, "scrypt")).toBe("16.2 GH/s");
    expect(columnValue("uptime_s_last", 7500)).toBe("2 h 5 min");
    expect(columnValue("not_a_column", 1.234)).toBe("1.23");
    expect(columnLabel("not_a_column")).toBe("Not a column");
  });
});
