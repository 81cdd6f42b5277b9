import pytest

from xkd_eval.datasets.remote.urls import expanded, is_url, place_in, shown
from xkd_eval.errors import XkdError


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("s3://b/v-{08..11}.tar", ["s3://b/v-08.tar", "s3://b/v-09.tar", "s3://b/v-10.tar", "s3://b/v-11.tar"]),
        ("s3://b/{8..10}", ["s3://b/8", "s3://b/9", "s3://b/10"]),
        ("s3://b/{10..8}", ["s3://b/10", "s3://b/9", "s3://b/8"]),
        ("s3://b/{00..10..5}", ["s3://b/00", "s3://b/05", "s3://b/10"]),
        ("s3://b/{a..c}{0,1}", ["s3://b/a0", "s3://b/a1", "s3://b/b0", "s3://b/b1", "s3://b/c0", "s3://b/c1"]),
        ("s3://b/{train-{0..1},val}", ["s3://b/train-0", "s3://b/train-1", "s3://b/val"]),
        ("s3://b/{one}-{a,b}", ["s3://b/{one}-a", "s3://b/{one}-b"]),
        ("s3://b/{open", ["s3://b/{open"]),
        ("s3://b/plain", ["s3://b/plain"]),
    ],
)
def test_braces(url, expected):
    assert expanded(url) == expected


@pytest.mark.parametrize(
    "url", ["s3://b/{0..999999999999}", "s3://b/{0..999}{1..1000}", "s3://b/{0..99999}{0..99999}{0..9}"]
)
def test_braces_of_too_many_files(url):
    with pytest.raises(XkdError, match=r"^data: its braces stand for 1,?0[0,]* files or more"):
        expanded(url)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("https://h/a", True),
        ("s3://b", True),
        ("C:/a", False),
        ("embedded:test", False),
        ("py:m:f", False),
        ("a//b", False),
    ],
)
def test_what_is_a_url(given, expected):
    assert is_url(given) is expected


def test_secrets_are_not_told():
    assert shown("https://me:secret@host:80/a%20b.tar?sig=secret#x") == "https://host:80/a%20b.tar?..."


def test_the_place_leads_nowhere_else():
    assert place_in("https://me:secret@host:80/../a%2F..%2Fb/c%20d.tar?x") == ["host:80", "c d.tar"]
