"""Weather and tariff: synthetic series and readers."""

from pathlib import Path

import numpy as np
import pytest

from shared.plant import constant_weather, read_epw, read_tariff_csv, synthetic_tariff, synthetic_weather


def test_synthetic_weather_is_seeded_and_plausible() -> None:
    one, same, other = (synthetic_weather(seed, step_s=3600.0) for seed in (1, 1, 2))
    assert np.array_equal(one.dry_bulb_c, same.dry_bulb_c)
    assert not np.array_equal(one.dry_bulb_c, other.dry_bulb_c)
    assert np.all(one.wet_bulb_c <= one.dry_bulb_c)
    assert one.rh_pct.min() >= 5.0
    assert one.rh_pct.max() <= 99.0
    by_hour = one.dry_bulb_c.reshape(-1, 24).mean(axis=0)
    assert by_hour.argmax() in range(13, 18)
    july, january = one.dry_bulb_c[190 * 24 : 210 * 24].mean(), one.dry_bulb_c[: 20 * 24].mean()
    assert july - january > 15.0


def test_weather_is_linear_between_samples_and_periodic() -> None:
    series = synthetic_weather(3, days=2.0, step_s=3600.0)
    middle = series.at(1800.0).dry_bulb_c
    assert middle == pytest.approx((series.dry_bulb_c[0] + series.dry_bulb_c[1]) / 2.0)
    later = series.at(10.0 + 2 * 86_400.0)
    assert later.dry_bulb_c == pytest.approx(series.at(10.0).dry_bulb_c)
    assert constant_weather(20.0, 50.0).at(1e6).wet_bulb_c == pytest.approx(13.7, abs=0.05)


def epw_row(dry: str, rh: str) -> str:
    return f"1999,1,1,1,60,?9,{dry},3.0,{rh},101000"


def test_epw_is_read_and_bad_files_are_refused(tmp_path: Path) -> None:
    head = "\n".join(["LOCATION,Somewhere", *["HEADER"] * 7])
    good = tmp_path / "a.epw"
    good.write_text("\n".join([head, epw_row("5.0", "80"), epw_row("7.0", "70")]))
    series = read_epw(good)
    assert list(series.dry_bulb_c) == [5.0, 7.0]
    assert series.at(1800.0).rh_pct == pytest.approx(75.0)
    for text in ("", "something else", head, "\n".join([head, epw_row("99.9", "80")]), head + "\n1,2,3"):
        bad = tmp_path / "b.epw"
        bad.write_text(text)
        with pytest.raises(ValueError, match=r"b\.epw"):
            read_epw(bad)


def test_synthetic_tariff_has_evening_peaks_and_rare_spikes() -> None:
    one, same = synthetic_tariff(1, days=60.0), synthetic_tariff(1, days=60.0)
    assert np.array_equal(one.price_per_mwh, same.price_per_mwh)
    assert one.price_per_mwh.max() > 3.0 * np.median(one.price_per_mwh)
    assert np.mean(one.price_per_mwh > 200.0) < 0.05
    hours = np.median(one.price_per_mwh.reshape(60, 24, 4), axis=(0, 2))
    assert hours[18:21].mean() > hours[2:6].mean() + 10.0


def test_tariff_csv(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("time,price_per_mwh\n2025-01-01T00:00:00+00:00,10\n2025-01-01T01:00:00+00:00,20\n")
    series = read_tariff_csv(path)
    assert [series.at(t) for t in (0.0, 3599.0, 3600.0, 7200.0)] == [10.0, 10.0, 20.0, 10.0]
    for text in (
        "time,price\n0,1\n",
        "time,price_per_mwh\n",
        "time,price_per_mwh\n5,1\n4,1\n",
        "time,price_per_mwh\n0,x\n",
    ):
        path.write_text(text)
        with pytest.raises(ValueError, match=r"p\.csv|could not convert"):
            read_tariff_csv(path)


def test_empty_series_are_refused() -> None:
    for make in (synthetic_weather, synthetic_tariff):
        with pytest.raises(ValueError, match="at least one"):
            make(1, days=0.0)
