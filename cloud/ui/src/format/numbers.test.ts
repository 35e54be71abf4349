import { describe, expect, it } from "vitest";
import { bytes, efficiency, hashingText, hashrate, num, percent, plain, power, three, UNKNOWN } from "./numbers";

describe("unknown is never zero", () => {
  it.each([null, undefined, NaN, Infinity])("%s", (value) => {
    expect(num(value, 1)).toBe(UNKNOWN);
    expect(power(value)).toBe(UNKNOWN);
    expect(hashrate(value, "sha256d")).toBe(UNKNOWN);
    expect(efficiency(value, "scrypt")).toBe(UNKNOWN);
  });
  it("zero stays zero", () => {
    expect(num(0, 1)).toBe("0.0");
    expect(power(0)).toBe("0 W");
    expect(hashrate(0, "scrypt")).toBe("0 GH/s");
  });
  it("miners of which nothing is known do not count as standing still", () => {
    expect(hashingText(0, 0, 24)).toBe(`${UNKNOWN}/24`);
    expect(hashingText(0, 24, 24)).toBe("0/24");
    expect(hashingText(0, 0, 0)).toBe("0/0");
  });
});

describe("scales", () => {
  it.each([[42, "42.0 W"], [3068, "3.07 kW"], [172_500, "173 kW"], [1.24e6, "1.24 MW"], [2.5e9, "2.50 GW"], [0.4, "0.40 W"], [-1500, "-1.50 kW"]])(
    "%d W", (watts, text) => expect(power(watts)).toBe(text),
  );
  it.each([[104, "104 TH/s"], [6940, "6.94 PH/s"], [1.2e6, "1.20 EH/s"]])("%d TH/s", (ths, text) => expect(hashrate(ths, "sha256d")).toBe(text));
  it.each([[0.0162, "16.2 GH/s"], [1.5, "1.50 TH/s"], [0.0005, "500 MH/s"]])("%d TH/s of scrypt", (ths, text) => expect(hashrate(ths, "scrypt")).toBe(text));
  it("keeps the algorithms' efficiencies in their own units", () => {
    expect(efficiency(17.52, "sha256d")).toBe("17.5 J/TH");
    expect(efficiency(200_411, "scrypt")).toBe("200 J/GH");
  });
  it("rounds to three digits", () => expect([three(1.234), three(12.34), three(123.4), three(1234.4)]).toEqual(["1.23", "12.3", "123", "1234"]));
  it("bytes", () => expect(bytes(84_213)).toBe("84.2 kB"));
});

describe("percent", () => {
  it("is unknown without a positive whole", () => {
    expect(percent(50, 0)).toBeNull();
    expect(percent(50, null)).toBeNull();
    expect(percent(null, 100)).toBeNull();
    expect(percent(52, 104)).toBe(50);
  });
});

describe("evidence values", () => {
  it.each([[null, UNKNOWN], ["", "none"], [true, "yes"], [3, "3"], [0.123456789, "0.12346"], ["word", "word"], [{ a: 1 }, '{"a":1}']])("%j", (value, text) => {
    expect(plain(value)).toBe(text);
  });
});
