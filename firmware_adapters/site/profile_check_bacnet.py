"""Whether the BACnet part of a profile makes sense (pure); see `profile_check`."""

import re

from firmware_adapters.site.profile_shape import BacnetRules, Point

BINARY = ("binary-input", "binary-output", "binary-value")
STAGES = ("multi-state-input", "multi-state-output", "multi-state-value")
NUMBERS = ("analog-input", "analog-output", "analog-value")
OBJECT_TYPES = (*NUMBERS, *BINARY, *STAGES)
HIGHEST, LOWEST = 8, 10
MOST_INSTANCES = 4_194_302


def check_bacnet_rules(rules: BacnetRules) -> list[str]:
    """What is wrong with how the device is spoken to, one sentence each."""
    problems: list[str] = []
    if not 1 <= rules.max_objects <= 100:
        problems.append("max_objects: expected 1 to 100")
    if not HIGHEST <= rules.priority <= LOWEST:
        problems.append(f"priority: expected {HIGHEST} to {LOWEST}; above is for life safety and for people")
    return problems


def check_bacnet_point(point: Point) -> list[str]:
    """What is wrong with one point's object, one sentence each."""
    problems: list[str] = []
    foreign = (point.oid, point.where_oid, point.sum_of, point.table, point.address)
    if point.object is None or any(each is not None for each in foreign):
        return ["a BACnet point needs an object, and no oid, table or address"]
    kind, comma, instance = point.object.partition(",")
    if not comma or kind not in OBJECT_TYPES or not re.fullmatch(r"(\d{1,7}|\{n\})", instance):
        return [
            f"object: expected such as analog-input,1 of {', '.join(OBJECT_TYPES)}; found {point.object!r}"
        ]
    if instance.isdigit() and int(instance) > MOST_INSTANCES:
        problems.append(f"object: instances end at {MOST_INSTANCES}")
    if ("{n}" in point.object) != (point.count is not None):
        problems.append("object: {n} and count belong together")
    if (kind in BINARY) != point.is_flag and not point.values:
        problems.append("object: a binary object and unit 0/1 belong together")
    if kind in STAGES and not point.values:
        problems.append("values: say which stage means which value")
    if point.write is not None and bool(point.values) != bool(point.write.values):
        problems.append("write.values: say which number commands which value, as values does for reading")
    if point.write is not None and kind.endswith("-input"):
        problems.append("write: an input object cannot be written")
    if point.write is not None and (point.write.oid is not None or point.write.oids or point.write.then):
        problems.append("write: oid, oids and then are for other protocols")
    return problems
