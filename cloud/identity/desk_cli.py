"""What a person decides at the command line: it asks the running cloud, as the dashboard does."""

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

from cloud.identity.broker import replace_file
from cloud.identity.desk_client import DeskClient, Refused
from cloud.kit.problems import BadInput, NotFound
from shared.clock import Clock
from shared.errors import ConfigError
from shared.identity import heard

CUT_WAIT_S: Final = 60.0


def enrolments(desk: DeskClient, step: str, given: argparse.Namespace) -> int:
    """List, upload, confirm, refuse or fetch."""
    if step == "list":
        for item in desk.get("/enrolments")["items"]:
            mark = "  ALREADY HAS A CERTIFICATE" if item["site_has_certificate"] else ""
            others = (
                f"  {item['others_waiting']} other requests for it wait!" if item["others_waiting"] else ""
            )
            print(f"{item['id']}  {item['state']:<8} {item['site']}{mark}{others}  {item['reason']}".rstrip())
        return 0
    if step == "add":
        made = desk.post("/enrolments", _request_of(given.file))
        print(f"request {made['id']} of site {made['site']} waits for its fingerprint")
        return 0
    if step == "confirm":
        return _confirm(desk, given)
    if step == "refuse":
        for found in _which(desk, given.which, "waiting"):
            desk.post(f"/enrolments/{found['id']}/refuse", {"actor": desk.actor, "reason": given.reason})
            print(f"request {found['id']} of site {found['site']} is refused")
        return 0
    found = desk.get(f"/enrolments/{_which(desk, given.which, 'issued')[0]['id']}")
    answer = {"certificate_pem": found["certificate_pem"], "ca_pem": found["ca_pem"]}
    given.out.write_text(json.dumps(answer) + "\n")
    print(f"{given.out}: take it to the gateway, 'minewarden enroll --site ... --accept {given.out.name}'")
    return 0


def _confirm(desk: DeskClient, given: argparse.Namespace) -> int:
    """Several requests may wait for one site; the fingerprint says which of them is meant."""
    body = {"fingerprint": heard(given.fingerprint), "actor": desk.actor, "replace": given.replace}
    refusals = []
    for found in _which(desk, given.which, "waiting"):
        try:
            made = desk.post(f"/enrolments/{found['id']}/confirm", body)
        except Refused as refused:
            refusals.append(refused)
            continue
        print(f"site {made['site']} has certificate {made['serial']}; its gateway fetches it by itself")
        print(f"the authority's fingerprint, to compare: {desk.get('/identity')['ca_fingerprint']}")
        return 0
    raise refusals[-1]


def _which(desk: DeskClient, name: str, state: str) -> list[dict[str, Any]]:
    """Requests of this site or id in this state, newest first; raises `NotFound` where there is none."""
    found = [
        item for item in desk.get("/enrolments", state=state)["items"] if name in (item["site"], item["id"])
    ]
    if not found:
        raise NotFound(
            f"there is no request of {name!r} that is {state}; see 'minewarden cloud enrolments list'"
        )
    return found


def certificates(desk: DeskClient, name: str | None) -> int:
    """All certificates, and whether the broker has the newest rules (else exit code 1)."""
    for item in desk.get("/certificates", **({"name": name} if name else {}))["items"]:
        notes = [f"{item['days_left']} days left" if item["state"] == "live" else item["reason"]]
        notes += ["superseded"] if item["superseded"] else []
        notes += ["renewal due"] if item["renewal_due"] else []
        print(f"{item['serial']}  {item['role']:<8}{item['name']:<24}{item['state']:<8} {', '.join(notes)}")
    trouble = (desk.get("/identity")["broker"] or {}).get("trouble")
    if trouble:
        print(f"the broker does not have the newest rules: {trouble}", file=sys.stderr)
    return 1 if trouble else 0


async def revoke(desk: DeskClient, given: argparse.Namespace, clock: Clock) -> int:
    """Revoke all live certificates of a name, and wait until the broker has cut them off."""
    live = _live(desk, given.site)
    if not live:
        raise NotFound(f"{given.site!r} has no live certificate; see 'minewarden cloud certificates'")
    role, serials = live[0]["role"], set()
    while live:
        # Those of a site go together, one that is being renewed at this moment included.
        body = {"actor": desk.actor, "reason": given.reason, "only_this": role != "site"}
        desk.post(f"/certificates/{live[0]['serial']}/revoke", body)
        still = _live(desk, given.site)
        left = {item["serial"] for item in still}
        for serial in (item["serial"] for item in live if item["serial"] not in left):
            print(f"{serial} of {given.site} is revoked")
            serials.add(serial)
        live = still
    if role not in ("site", "control"):
        print("new connections with it are refused; for those that are up, restart the broker")
        return 0
    until_s = clock.monotonic() + CUT_WAIT_S
    while clock.monotonic() < until_s:
        items = desk.get("/certificates", name=given.site)["items"]
        if again := [item["serial"] for item in items if item["state"] == "live"]:
            print(f"minewarden cloud: {given.site} has been given {again[0]} meanwhile", file=sys.stderr)
            return 1
        if all(item["cut_ms"] is not None for item in items if item["serial"] in serials):
            print("the broker refuses it, and its connection is ended")
            return 0
        await clock.sleep(0.5)
    trouble = (desk.get("/identity")["broker"] or {}).get("trouble") or "no word from it"
    print(f"minewarden cloud: revoked, but the broker has NOT obeyed yet: {trouble}", file=sys.stderr)
    return 1


def _live(desk: DeskClient, name: str) -> list[Any]:
    return [item for item in desk.get("/certificates", name=name)["items"] if item["state"] == "live"]


def admit(desk: DeskClient, given: argparse.Namespace) -> int:
    """A certificate for a third party."""
    body = {
        "name": given.name,
        "sites": given.site,
        "request_pem": _text(given.request),
        "actor": desk.actor,
    }
    made = desk.post("/certificates", body)
    replace_file(given.out, made["certificate_pem"])
    print(f"{given.out}: serial {made['serial']}, CN {made['name']}, {made['days_left']} days")
    return 0


def _request_of(file: Path) -> Any:
    try:
        return json.loads(_text(file))
    except ValueError as error:
        raise BadInput(f"{file}: this is not a file of 'minewarden enroll --offline'") from error


def _text(file: Path) -> str:
    try:
        return file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: cannot be read: {error}") from error
