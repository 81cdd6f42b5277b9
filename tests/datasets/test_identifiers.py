import os

import pytest

from xkd_eval.datasets.identifiers import identifier_of, name_of


@pytest.mark.parametrize(
    ("name", "identifier"),
    [
        (b"n01440764/a b.JPEG", "n01440764/a b.JPEG"),
        ("\u5199\u771f \U0001f600.png".encode(), "\u5199\u771f \U0001f600.png"),
        (b"caf\xe9", r"caf\xe9"),
        (rb"caf\xe9", r"caf\x5cxe9"),
        (b"\x1b[31m\n", r"\x1b[31m\x0a"),
        ("\x85\u2028".encode(), r"\xc2\x85\xe2\x80\xa8"),
    ],
)
def test_a_name_becomes_text_and_comes_back(name, identifier):
    assert identifier_of(os.fsdecode(name)) == identifier
    assert os.fsencode(name_of(identifier)) == name


def test_every_pair_of_bytes_comes_back_and_no_two_are_one():
    names = [os.fsdecode(bytes(pair)) for pair in ((a, b) for a in range(256) for b in range(256))]
    identifiers = [identifier_of(name) for name in names]
    assert len(set(identifiers)) == 65536
    assert [name_of(identifier) for identifier in identifiers] == names
    "".join(identifiers).encode()
