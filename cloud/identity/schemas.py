"""Enrolments and certificates as the API takes and shows them."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from shared.identity import MAX_PEM

Actor = Annotated[str, Field(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f]+$")]
Reason = Annotated[str, Field(max_length=500, pattern=r"^[^\x00]*$")]
Pem = Annotated[str, Field(min_length=1, max_length=MAX_PEM, pattern=r"^[\x09\x0a\x0d\x20-\x7e]+$")]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class EnrolmentRequest(_Strict):
    """What `minewarden enroll` sends. `made_ms` is the gateway's clock (UTC, ms) when it was made."""

    request_pem: Pem
    made_ms: int = Field(ge=0, lt=2**53)
    replace: bool = False


class Confirmation(_Strict):
    """A person's word: the fingerprint as it was read out by whoever stands at the gateway."""

    fingerprint: str = Field(min_length=1, max_length=64)
    actor: Actor
    replace: bool = False
    """Needed where the site has a live certificate; that one is revoked."""


class Refusal(_Strict):
    """A person's no."""

    actor: Actor
    reason: Reason = ""


class Revocation(Refusal):
    """Take a certificate back. Of a site all live ones go with it, unless `only_this` says otherwise: who had
    the key may have had it renewed, and an earlier one may be on the same stolen disk."""

    only_this: bool = False


class ControlRequest(_Strict):
    """A certificate for a third party that may send signed commands to these sites (`*` is all)."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,39}$")
    sites: list[Annotated[str, Field(max_length=63)]] = Field(min_length=1, max_length=1000)
    request_pem: Pem
    actor: Actor


class EnrolmentView(BaseModel):
    """One request. `others_waiting`: further undecided requests for the same site, which is suspicious.

    `fingerprint` is null until a person has typed it: only who stands at the gateway can read it out, so
    nobody can confirm by copying it from this screen.
    """

    id: str
    site: str
    fingerprint: str | None
    state: Literal["waiting", "issued", "refused", "expired"]
    asked_ms: int
    expires_ms: int
    replace: bool
    site_has_certificate: bool
    others_waiting: int
    decided_ms: int | None
    actor: str | None
    reason: str
    serial: str | None


class EnrolmentDetail(EnrolmentView):
    """One request with what the gateway fetches once it is issued. `now_ms` is the cloud's clock."""

    certificate_pem: str | None
    ca_pem: str
    ca_fingerprint: str
    now_ms: int


class EnrolmentList(BaseModel):
    items: list[EnrolmentView]


class CertificateView(BaseModel):
    """One certificate. `cut_ms`: when the broker had cut off what was revoked; null means not yet.

    `superseded`: a newer live certificate of the same name exists. `renewal_due`: a third of its life is
    left.
    """

    serial: str
    name: str
    role: Literal["site", "ingest", "command", "broker", "control"]
    sites: list[str]
    fingerprint: str
    state: Literal["live", "expired", "revoked"]
    how: str
    actor: str
    issued_ms: int
    not_before_ms: int
    not_after_ms: int
    days_left: int
    renewal_due: bool
    superseded: bool
    revoked_ms: int | None
    revoked_by: str | None
    reason: str
    cut_ms: int | None


class CertificateDetail(CertificateView):
    """One certificate with its text."""

    certificate_pem: str
    ca_pem: str


class CertificateList(BaseModel):
    items: list[CertificateView]


class BrokerView(BaseModel):
    """Whether the broker's files are as they should be; `trouble` says what a person must do."""

    applied_ms: int | None
    trouble: str | None


class IdentityView(BaseModel):
    """Whether this cloud issues certificates, and how that is going."""

    enabled: bool
    ca_fingerprint: str | None
    ca_not_after_ms: int | None
    waiting: int
    renewals: int
    refused_renewals: int
    broker: BrokerView | None
