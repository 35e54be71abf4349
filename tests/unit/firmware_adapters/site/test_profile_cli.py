"""`minewarden profile`: each problem is one line with file and line, and the exit status says it."""

import json
import re
from pathlib import Path

import msgspec
import pytest

from firmware_adapters.site.cli import main, requests_per_read, schema_text, summary
from firmware_adapters.site.profile import Profile, load_profile, profile_names

SHIPPED = Path(__file__).parents[4] / "firmware_adapters" / "site" / "profiles"


def test_every_shipped_profile_passes(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", *(str(file) for file in sorted(SHIPPED.glob("*.toml")))]) == 0
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(profile_names())
    assert err == ""


def test_a_bad_file_is_told_line_by_line_and_the_good_one_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.toml"
    good = (SHIPPED / "water-loop.toml").read_text(encoding="utf-8")
    bad.write_text(good.replace('"m³/h"', '"l/s"').replace("address = 4", "address = 3"), encoding="utf-8")
    assert main(["lint", str(bad), str(SHIPPED / "contacts.toml")]) == 1
    out, err = capsys.readouterr()
    told = [re.sub(rf"^{re.escape(str(bad))}:\d+: ", "", line) for line in err.splitlines()]
    assert told == [
        "flow_m3h: unit: is 'l/s', this metric is in 'm³/h'",
        "water_temp_c.2: address: input 3 overlaps water_temp_c.1 at input 3",
    ]
    assert out.count("\n") == 1


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[[points", "not valid TOML"),
        ("", "is missing"),
        ("schema = 1\npoints = 5\n", "Expected `array`"),
        ("schema = 1\npoints = [5]\n", "Expected `object`"),
        ("schema = 9\n", "is missing"),
    ],
)
def test_what_is_no_profile_at_all_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    file = tmp_path / "x.toml"
    file.write_text(text, encoding="utf-8")
    assert main(["lint", str(file)]) == 1
    assert said in capsys.readouterr().err


def test_a_file_that_is_not_there_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lint", str(tmp_path / "gone.toml")]) == 1
    assert "gone.toml: cannot be read" in capsys.readouterr().err


def test_wrong_use_exits_with_2(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in ([], ["lint"], ["paint"]):
        with pytest.raises(SystemExit) as caught:
            main(argv)
        assert caught.value.code == 2
    assert "usage" in capsys.readouterr().err


def test_the_schema_is_that_of_the_structs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["schema"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed == json.loads(schema_text())
    defined = printed["$defs"]["Profile"]
    assert set(defined["properties"]) == set(Profile.__struct_fields__)
    assert defined["additionalProperties"] is False
    required = {field.name for field in msgspec.structs.fields(Profile) if field.required}
    assert set(defined["required"]) == required
    assert {"low", "high", "settle_s"} <= set(printed["$defs"]["WriteRule"]["required"])


def test_the_list_names_every_profile(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["list"]) == 0
    rows = capsys.readouterr().out.splitlines()[1:]
    assert [row.split()[0] for row in rows] == list(profile_names())
    assert main(["list", "--json"]) == 0
    told = {one["profile"]: one for one in json.loads(capsys.readouterr().out)}
    assert told["abb-drives"]["writable"] == ["speed_setpoint_pct"]
    assert told["generic-sound"]["retention_days"] == 365.0
    assert told["generic-sound"]["interval_s"] == 10.0


def test_a_summary_says_what_a_read_costs() -> None:
    assert requests_per_read(load_profile("sunspec-203")) == 1
    assert requests_per_read(load_profile("ups-mib")) is None
    assert summary(load_profile("eastron-sdm630")) == (
        "Eastron SDM630 (meter): 15 points, 1 request a read, writes nothing"
    )
