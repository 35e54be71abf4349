"""What a stored credential means to SNMP: a community, or a v3 user with secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firmware_adapters.transport.snmp_user import Authentication, Privacy, UsmUser, access_of
from shared.errors import ConfigError


def test_without_a_user_the_secret_is_the_community() -> None:
    assert access_of(None, "sha256 is a fine community") == "sha256 is a fine community"


def test_four_words_are_an_authenticated_and_private_user() -> None:
    assert access_of("watch", "SHA256 'open sesame' aes256c hidden-away") == UsmUser(
        name="watch",
        authentication=Authentication.SHA256,
        authentication_secret="open sesame",
        privacy=Privacy.AES256_CISCO,
        privacy_secret="hidden-away",
    )


def test_two_words_are_authenticated_only() -> None:
    user = access_of("watch", "sha open-sesame")
    assert isinstance(user, UsmUser)
    assert (user.authentication, user.privacy) == (Authentication.SHA, None)


@pytest.mark.parametrize(
    ("secret", "text"),
    [
        ("private", "two or four words"),
        ("sha256 abcdefgh aes", "two or four words"),
        ("md5 abcdefgh des abcdefgh", "first word must be one of sha, "),
        ("sha abcdefgh des abcdefgh", "third word must be one of aes, "),
        ("sha short", "at least 8"),
        ("sha abcdefgh aes short", "at least 8"),
        ("sha 'abcdefgh", "quote is not closed"),
    ],
)
def test_a_mistake_is_named_and_no_secret_shown(secret: str, text: str) -> None:
    with pytest.raises(ConfigError, match=text) as caught:
        access_of("watch", secret)
    assert "abcdefgh" not in str(caught.value)


@given(st.text(max_size=60))
def test_any_secret_is_a_user_or_a_clear_sentence(secret: str) -> None:
    try:
        user = access_of("watch", secret)
    except ConfigError:
        return
    assert isinstance(user, UsmUser)
    assert (
        user.authentication_secret not in repr(user) or user.authentication_secret in "UsmUser(name='watch'"
    )
