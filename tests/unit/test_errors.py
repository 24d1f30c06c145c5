"""What a message shows of an address."""

import pytest

from tlzoo.errors import redacted


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("https://me:secret@host/a.json", "https://***@host/a.json"),
        ("https://me@host/a", "https://***@host/a"),
        ("https://me:se@cret@host/a", "https://***@host/a"),
        ("http://me:secret@[::1", "http://***@[::1"),
        ("https://host/a?token=x&y#sha256=1", "https://host/a?***#sha256=1"),
        ("https://host/a@b", "https://host/a@b"),
        ("from https://a:b@c/d, http://e:f@g", "from https://***@c/d, http://***@g"),
        ("me@host is no address", "me@host is no address"),
    ],
)
def test_passwords_and_keys_are_left_out(text, shown):
    assert redacted(text) == shown
