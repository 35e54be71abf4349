"""The error codes of a Whatsminer, out of the several shapes in which it prints them.

Lists of one-entry objects, an object, bare numbers, and the list with keys that is no JSON (which
`line_json.decode` has made an object of by then): miners.md §2.
"""

from firmware_adapters.miners.whatsminer.fields import Page, amount, page, text
from shared.details import Fault

_MAX = 64
_KINDS = {
    1: "fans",
    2: "power supply",
    3: "temperature sensors",
    4: "board memory",
    5: "hash boards",
    6: "temperature of the surroundings",
    7: "control board",
    8: "software",
    20: "pools",
}
"""What a code is about, by its hundreds, as the vendor numbers its codes [default, not checked on a machine];
single codes differ from model to model, so their own words are not guessed."""
_NAMES = ("errorcode", "error", "code", "errcode")


def faults_in(listed: object) -> tuple[Fault, ...]:
    """The faults in the value of `error_code`, each code once, at most 64."""
    found: dict[str, Fault] = {}
    for item in listed if isinstance(listed, list) else [listed]:
        for code, told in _entries(item):
            if _is_code(code) and len(found) < _MAX:
                found.setdefault(code, Fault(code=code, words=_words(code, told)))
    return tuple(found.values())


def faults_of_summary(summary: Page) -> tuple[Fault, ...] | None:
    """Some versions count their errors in `summary`; None where this one does not."""
    count = amount(summary, "errorcodecount")
    if count is None:
        return None
    codes = [amount(summary, f"errorcode{place}") for place in range(int(min(count, _MAX)))]
    return faults_in([int(code) for code in codes if code is not None and code < 1e9])


def _entries(item: object) -> list[tuple[str, str]]:
    """Codes with what is told of each: when it came, or why."""
    fields = page(item)
    if fields is None:
        return [(_printed(item), "")]
    for name in _NAMES:
        code = _printed(fields.get(name))
        if code:
            return [(code, text(fields, "reason", "msg", "cause", "time") or "")]
    reason = text(fields, "reason")
    return [(code, reason or (since if isinstance(since, str) else "")) for code, since in fields.items()]


def _printed(value: object) -> str:
    if isinstance(value, str):
        return value.strip()
    whole = isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1e9
    return str(value) if whole else ""


def _is_code(code: str) -> bool:
    return code.isascii() and code.isdecimal() and len(code) <= 9 and int(code) != 0


def _words(code: str, told: str) -> str:
    kind = _KINDS.get(int(code) // 100, "")
    return ": ".join(part for part in (kind, told[:200]) if part)
