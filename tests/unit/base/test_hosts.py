"""Hosts in one spelling, and rules that name them."""

import socket
from ipaddress import IPv4Address, IPv6Address, ip_address
from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgecanary.base.hosts import HostRule, Place, parse_rule, place_of, place_of_url

LABEL = st.from_regex(r"[a-z]([a-z0-9-]{0,8}[a-z0-9])?", fullmatch=True)
NAME = st.lists(LABEL, min_size=1, max_size=4).map(".".join)
PORT = st.integers(1, 65535)
ADDRESS = st.ip_addresses().map(str)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("http://prometheus.monitoring:9090/prom", "prometheus.monitoring:9090"),
        ("https://Models.Example.COM/x", "models.example.com:443"),
        ("http://models.example.com./x", "models.example.com:80"),
        ("https://models.example.com:/x", "models.example.com:443"),
        ("http://10.0.0.7:80", "10.0.0.7:80"),
        ("http://[FD00::1]:9090/x", "[fd00::1]:9090"),
        ("http://[0:0:0:0:0:0:0:1]", "[::1]:80"),
        ("https://models.example.com/x?to=http://evil@127.0.0.1/", "models.example.com:443"),
        ("https://xn--bcher-kva.example/x", "xn--bcher-kva.example:443"),
        ("http://a_b.example", "a_b.example:80"),
    ],
)
def test_an_address_leads_to_one_place(url: str, place: str) -> None:
    assert str(place_of_url(url)) == place


@pytest.mark.parametrize(
    "url",
    [
        # IPv4 in other words: a resolver takes them all for 127.0.0.1 or 169.254.169.254.
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.1/",
        "http://169.254.43518/",
        "http://0xA9FEA9FE./",
        "http://127.0.0.01/",
        "http://example.0x7f/",
        "http://1.2.3.4.5/",
        # Whoever reads up to the @ sees another host than whoever reads from it.
        "https://models.example.com@169.254.169.254/",
        "https://models.example.com:443@127.0.0.1/",
        "https://user:word@models.example.com/",
        "https://models.example.com%40127.0.0.1/",
        "https://models.example.com\\@127.0.0.1/",
        "https://127.0.0.1\\.models.example.com/",
        # Letters that some programs fold to others.
        "http://\uff11\uff12\uff17.0.0.1/",
        "http://127。0。0。1/",
        "http://ⓛocalhost/",
        "http://bücher.example/",
        "http://models.example.com\u2024evil/",
        "http://%31%32%37.0.0.1/",
        # Blanks that some programs leave out.
        "http://local\thost/",
        "http://127.0.0.1 /",
        " http://models.example.com/",
        "http://models.example.com\r\nHost: evil/",
        "http://models.example.com\x00/",
        # Ports.
        "http://models.example.com:0/",
        "http://models.example.com:65536/",
        "http://models.example.com:80:90/",
        "http://models.example.com:\uff18\uff10/",
        "http://models.example.com:+80/",
        "http://models.example.com:-1/",
        # IPv6.
        "http://[fe80::1%25eth0]/",
        "http://[fe80::1%eth0]/",
        "http://fd00::1/",
        "http://[::1/",
        "http://::1]/",
        "http://[127.0.0.1]/",
        "http://[::1].example.com/",
        "http://[]/",
        # No host, no http.
        "http://",
        "http:///etc/passwd",
        "http://..",
        "http://a..b/",
        "http://.example.com/",
        "http://example.com../",
        "http://-a.example/",
        "http://" + "a" * 64 + ".example/",
        "http://" + "a." * 127 + "a" * 63,
        "file:///etc/passwd",
        "gopher://example.com/",
        "//example.com/",
        "example.com",
        "",
    ],
)
def test_what_can_be_read_in_two_ways_or_not_at_all_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        place_of_url(url)


@given(name=NAME, port=PORT)
def test_case_and_one_dot_at_the_end_make_no_other_place(name: str, port: int) -> None:
    usual = place_of(name, port)
    assert place_of(name.upper(), port) == place_of(f"{name}.", port) == usual
    assert place_of_url(f"http://{name.title()}.:{port}/x") == usual


@given(address=st.ip_addresses(), port=PORT)
def test_an_ip_address_keeps_its_meaning(address: IPv4Address | IPv6Address, port: int) -> None:
    shown = f"[{address}]" if address.version == 6 else str(address)
    assert place_of_url(f"https://{shown}:{port}/") == Place(str(address), port, address)
    if isinstance(address, IPv6Address):
        assert place_of_url(f"https://[{address.exploded}]:{port}/") == Place(str(address), port, address)


@given(st.text(max_size=40))
@example("http://1/@2")
@example("http://0/")
def test_what_is_understood_is_understood_by_others_just_so(text: str) -> None:
    """No two readings: the host that the standard library reads is the one that was looked at."""
    try:
        place = place_of_url(f"http://{text}")
    except ValueError:
        return
    parts = urlsplit(f"http://{text}")
    assert parts.username is None
    read = (parts.hostname or "").removesuffix(".")
    assert (ip_address(read) == place.address) if place.address else (read == place.host)
    assert (parts.port or 80) == place.port


@given(st.from_regex(r"[0-9a-fA-FxX.]{1,20}", fullmatch=True))
def test_a_host_that_a_resolver_takes_for_a_number_is_one_in_its_usual_spelling(text: str) -> None:
    try:
        place = place_of(text, 80)
    except ValueError:
        return
    try:
        packed = socket.inet_aton(place.host)
    except OSError:
        assert place.address is None
        return
    assert place.address == IPv4Address(packed)


@pytest.mark.parametrize(
    ("rule", "named", "others"),
    [
        (
            "models.example.com",
            ["models.example.com", "models.example.com:8443"],
            ["a.models.example.com", "example.com", "models.example.com.evil.example", "xmodels.example.com"],
        ),
        ("Models.Example.com", ["models.example.com"], ["other.example.com"]),
        ("prometheus:9090", ["prometheus:9090"], ["prometheus", "prometheus:9091", "x.prometheus:9090"]),
        (
            "*.example.com",
            ["a.example.com", "a.b.example.com:1"],
            ["example.com", "aexample.com", "10.0.0.1"],
        ),
        ("*.example.com:443", ["a.example.com:443"], ["a.example.com:80"]),
        ("10.0.0.7", ["10.0.0.7:9000"], ["10.0.0.70", "10.0.0.7.example.com"]),
        ("[fd00::1]:9000", ["[fd00:0::1]:9000"], ["[fd00::1]:80", "[fd00::2]:9000"]),
        ("*", ["a.example.com", "10.0.0.1", "[fd00::1]"], []),
        ("*:9090", ["a:9090", "10.0.0.1:9090"], ["a:80"]),
    ],
)
def test_a_rule_names_these_hosts_and_no_others(rule: str, named: list[str], others: list[str]) -> None:
    found = parse_rule(rule)
    assert all(found.matches(place_of_url(f"http://{host}/")) for host in named)
    assert not any(found.matches(place_of_url(f"http://{host}/")) for host in others)


@pytest.mark.parametrize(
    "rule",
    [
        "",
        " ",
        "a b",
        "a:",
        "a:0",
        "a.",
        "a.:80",
        "fd00::1",
        "a:x",
        "*.",
        "*.*",
        "a.*",
        "*.10.0.0.1",
        "**",
        "http://a",
        "a/b",
        "[::1",
        "é",
    ],
)
def test_what_is_no_rule_is_refused(rule: str) -> None:
    with pytest.raises(ValueError, match=r"^must "):
        parse_rule(rule)


@given(host=st.one_of(NAME, ADDRESS, NAME.map(lambda name: f"*.{name}"), st.just("*")), port=st.none() | PORT)
def test_a_rule_survives_being_written_out(host: str, port: int | None) -> None:
    shown = f"[{host}]" if ":" in host else host
    rule = parse_rule(shown if port is None else f"{shown}:{port}")
    assert parse_rule(str(rule)) == rule
    assert rule == HostRule(rule.host, port, host.startswith("*."))
