"""Digest authentication: the examples of the RFCs, nonces that age, refused passwords, odd challenges."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from firmware_adapters.capabilities import Credential
from firmware_adapters.transport.digest import (
    MAX_CHALLENGE,
    Challenge,
    DigestTransport,
    authorization,
    challenge,
)
from firmware_adapters.transport.http import HttpReply, HttpRequest, MemoryHttp
from shared.errors import ConfigError, MalformedReply, Unreachable

ASK = 'Digest realm="r", nonce="{}", qop="auth"'
KEY = Credential(user="root", secret="root")


def proof(header: str) -> dict[str, str]:
    """The parts of an `Authorization` header."""
    scheme, _, rest = header.partition(" ")
    assert scheme == "Digest"
    return {name: value.strip('"') for name, _, value in (part.partition("=") for part in rest.split(", "))}


# ---------------------------------------------------------------- computing


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
    ],
)
def test_the_examples_of_rfc_7616(algorithm: str, response: str) -> None:
    asked = challenge(
        'Digest realm="http-auth@example.org", qop="auth, auth-int", '
        f'algorithm={algorithm}, nonce="7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v", '
        'opaque="FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"'
    )
    assert asked is not None
    made = proof(
        authorization(
            asked,
            "Mufasa",
            "Circle of Life",
            "GET",
            "/dir/index.html",
            count=1,
            cnonce="f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
        )
    )
    assert made["response"] == response
    assert (made["qop"], made["nc"], made["algorithm"]) == ("auth", "00000001", algorithm)
    assert made["opaque"] == "FQhe/qaU925kfnzjCev0ciny7QMkPqMAFRtzCUYo5tdS"


def test_the_example_of_rfc_2617_and_the_scheme_before_it() -> None:
    asked = Challenge(
        realm="testrealm@host.com",
        nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",
        opaque=None,
        algorithm=None,
        protects=True,
    )
    made = proof(
        authorization(asked, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", count=1, cnonce="0a4f113b")
    )
    assert made["response"] == "6629fae49393a05397450978507c4ef1"
    older = challenge('Digest realm="testrealm@host.com", nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093"')
    assert older is not None
    made = proof(
        authorization(older, "Mufasa", "Circle Of Life", "GET", "/dir/index.html", count=1, cnonce="x")
    )
    assert made["response"] == "670fd8c2df070c60b045671b8b24ff02"
    assert not {"qop", "nc", "cnonce"} & set(made)


def test_a_session_variant_hashes_the_nonces_too() -> None:
    plain, session = challenge(ASK.format("n")), challenge(ASK.format("n") + ", algorithm=MD5-sess")
    assert plain is not None
    assert session is not None
    one, other = (
        proof(authorization(asked, "u", "p", "GET", "/", count=1, cnonce="c")) for asked in (plain, session)
    )
    assert one["response"] != other["response"]
    assert other["algorithm"] == "MD5-sess"


@pytest.mark.parametrize(
    "header",
    [
        'Digest realm="r"',
        'Digest nonce="n"',
        'Digest realm="r", nonce=""',
        'Digest realm="r", nonce="n", qop="auth-int"',
        'Digest realm="r", nonce="n", algorithm=SHA-512-256',
        'Digest realm="r", nonce="a\x07b"',
        'Digest realm="r", nonce="' + "n" * MAX_CHALLENGE + '"',
        "Digest ",
    ],
)
def test_a_challenge_that_cannot_be_answered_is_malformed(header: str) -> None:
    with pytest.raises(MalformedReply):
        challenge(header)


def test_another_scheme_is_no_challenge() -> None:
    assert challenge('Basic realm="r"') is None
    assert challenge("") is None


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80) | st.text(max_size=60).map(lambda tail: 'Digest realm="r", nonce="n", ' + tail))
def test_whatever_header_comes_it_is_a_challenge_or_malformed(header: str) -> None:
    try:
        asked = challenge(header)
    except MalformedReply:
        return
    if asked is not None:
        made = authorization(asked, 'a"b', "p", "GET", "/x?y=1", count=7, cnonce="c")
        assert made.isprintable()


# ---------------------------------------------------------------- talking


class Server:
    """Asks for a digest; takes any proof for its present nonce unless it `refuses`."""

    def __init__(self, *, refuses: bool = False, fixed_nonce: bool = False) -> None:
        self.refuses = refuses
        self.fixed_nonce = fixed_nonce
        self.nonce = 0
        self.proofs: list[dict[str, str]] = []

    async def answer(self, request: HttpRequest) -> HttpReply:
        given = request.headers.get("Authorization")
        if given is not None:
            self.proofs.append(proof(given))
            if not self.refuses and self.proofs[-1]["nonce"] == f"n{self.nonce}":
                return HttpReply(200, request.body)
        if self.refuses and not self.fixed_nonce:
            self.nonce += 1
        return HttpReply(401, b"", {"www-authenticate": ASK.format(f"n{self.nonce}")})


def opened(server: Server, key: Credential = KEY) -> tuple[DigestTransport, MemoryHttp]:
    http = MemoryHttp(server.answer)
    return DigestTransport(http, key, default_user="root"), http


async def test_a_challenge_is_answered_once_and_used_again() -> None:
    server = Server()
    digest, http = opened(server)
    assert (await digest.request("GET", "/a")).status == 200
    assert (await digest.request("POST", "/b", {"x": 1})).body == b'{"x":1}'
    assert len(http.requests) == 3, "one question, then a proof with each request"
    assert [(made["uri"], made["nc"]) for made in server.proofs] == [("/a", "00000001"), ("/b", "00000002")]
    assert len({made["cnonce"] for made in server.proofs}) == 2
    await digest.close()


async def test_a_forgotten_nonce_costs_one_request_more() -> None:
    server = Server()
    digest, http = opened(server)
    await digest.request("GET", "/a")
    server.nonce += 1
    assert (await digest.request("GET", "/a")).status == 200
    assert len(http.requests) == 4
    assert server.proofs[-1]["nc"] == "00000001", "a new nonce counts from one"


@pytest.mark.parametrize("fixed_nonce", [False, True])
async def test_a_refused_password_is_tried_once(fixed_nonce: bool) -> None:
    server = Server(refuses=True, fixed_nonce=fixed_nonce)
    digest, _ = opened(server)
    assert (await digest.request("GET", "/a")).status == 401
    assert len(server.proofs) == 1


async def test_a_server_that_asks_for_something_else_is_not_answered() -> None:
    async def answer(request: HttpRequest) -> HttpReply:
        assert "Authorization" not in request.headers
        return HttpReply(401, b"", {"www-authenticate": 'Basic realm="r"'})

    digest = DigestTransport(MemoryHttp(answer), KEY, default_user="root")
    assert (await digest.request("GET", "/a")).status == 401


async def test_a_failure_passes_through() -> None:
    async def answer(_request: HttpRequest) -> Unreachable:
        return Unreachable("gone")

    digest = DigestTransport(MemoryHttp(answer), KEY, default_user="root")
    with pytest.raises(Unreachable):
        await digest.request("GET", "/a")


@pytest.mark.parametrize("user", ["a:b", "a\nb", "ü"])
def test_a_user_that_no_header_takes_is_a_configuration_error(user: str) -> None:
    with pytest.raises(ConfigError):
        opened(Server(), Credential(user=user, secret="x"))


async def test_the_password_never_leaves() -> None:
    server = Server()
    digest, http = opened(server, Credential(user=None, secret="hunter2hunter2"))
    await digest.request("GET", "/a")
    assert all("hunter2" not in str(request) for request in http.requests)
    assert server.proofs[0]["username"] == "root"
