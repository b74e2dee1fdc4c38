"""What may be reached: by how it is written, and by the address behind it."""

from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecanary.base.addresses import special
from edgecanary.base.errors import NotAllowed
from edgecanary.base.hosts import parse_rule
from edgecanary.base.reach import LocalRule, Reach

STRICT = LocalRule(loopback=False)


def allowing(*hosts: str) -> LocalRule:
    return LocalRule(loopback=False, hosts=tuple(map(parse_rule, hosts)))


def granting(*hosts: str, local: LocalRule = STRICT) -> Reach:
    return Reach(local, tuple(map(parse_rule, hosts)), purpose="prometheus", namespace="plant", ask="ask Ann")


def refused(reach: Reach, url: str) -> NotAllowed:
    with pytest.raises(NotAllowed) as caught:
        reach.check(url, name="spec.url")
    return caught.value


@pytest.mark.parametrize(
    "host", ["169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]", "100.100.100.200"]
)
@pytest.mark.parametrize("local", [LocalRule(), STRICT, allowing("metadata.internal", "*.example.com")])
def test_a_metadata_service_is_never_reached_by_accident(host: str, local: LocalRule) -> None:
    error = refused(Reach(local), f"http://{host}/latest/meta-data/")
    assert error.reason == "AddressRefused"
    assert error.message.startswith("spec.url: ")
    assert ":80 is the metadata service of a cloud" in error.message
    assert "--allow-host" in error.message


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "[::1]", "localhost", "LOCALHOST.", "a.localhost", "169.254.1.1", "[fe80::1]"]
)
def test_loopback_and_link_local_are_refused_where_they_are_not_meant(host: str) -> None:
    assert refused(Reach(STRICT), f"http://{host}:9090/").reason == "AddressRefused"


def test_loopback_is_allowed_to_a_program_that_was_started_by_hand() -> None:
    assert str(Reach().check("http://127.0.0.1:9090/")) == "127.0.0.1:9090"
    assert str(Reach().check("http://localhost:9090/")) == "localhost:9090"


def test_a_host_that_is_named_may_be_local() -> None:
    reach = Reach(allowing("127.0.0.1:9000", "cache.local", "169.254.20.10"))
    reach.check("http://127.0.0.1:9000/x")
    reach.check("http://169.254.20.10/x")
    reach.check_addresses("cache.local", 80, [ip_address("127.0.0.1"), ip_address("fe80::1")])
    assert refused(reach, "http://127.0.0.1:9001/x").reason == "AddressRefused"
    assert refused(reach, "http://127.0.0.2:9000/x").reason == "AddressRefused"


@pytest.mark.parametrize("address", ["169.254.169.254", "fd00:ec2::254", "0.0.0.0", "224.0.0.1"])  # noqa: S104
def test_a_name_that_may_be_local_is_still_no_way_to_a_metadata_service(address: str) -> None:
    with pytest.raises(NotAllowed, match="which is"):
        Reach(allowing("cache.local", "*")).check_addresses("cache.local", 80, [ip_address(address)])


def test_an_address_that_is_spelt_out_by_an_administrator_is_meant() -> None:
    Reach(allowing("169.254.169.254")).check("http://169.254.169.254/")
    granting("127.0.0.1:9090").check("http://127.0.0.1:9090/")
    granting("127.0.0.1:9090").check_addresses("127.0.0.1", 9090, [ip_address("127.0.0.1")])
    assert refused(granting("127.0.0.1:9090"), "http://127.0.0.1:9091/").reason == "NotGranted"


def test_a_granted_name_is_no_leave_for_a_local_address() -> None:
    reach = granting("prometheus.plant")
    reach.check("http://prometheus.plant:9090/")
    with pytest.raises(
        NotAllowed, match=r"prometheus\.plant:9090 is 127\.0\.0\.1, which is the machine itself"
    ) as caught:
        reach.check_addresses("prometheus.plant", 9090, [ip_address("10.0.0.1"), ip_address("127.0.0.1")])
    assert caught.value.reason == "AddressRefused"


def test_a_host_that_is_not_granted_is_refused_with_what_is_and_whom_to_ask() -> None:
    error = refused(granting("prometheus.plant:9090", "*.example.com"), "http://evil.example:9090/")
    assert error.reason == "NotGranted"
    assert error.message == (
        "spec.url: evil.example:9090 is not granted to namespace 'plant' as prometheus "
        "(granted: prometheus.plant:9090, *.example.com); ask Ann"
    )


def test_a_host_that_is_connected_to_must_be_granted_as_the_one_that_is_written() -> None:
    with pytest.raises(NotAllowed, match="not granted"):
        granting("prometheus.plant").check_addresses("evil.example", 9090, [ip_address("10.0.0.1")])


def test_nothing_is_reached_where_the_rules_cannot_be_read() -> None:
    closed = Reach(closed="the rules cannot be read", reason="GrantsUnreadable")
    error = refused(closed, "https://models.example.com/x")
    assert (error.reason, error.message) == ("GrantsUnreadable", "spec.url: the rules cannot be read")
    with pytest.raises(NotAllowed):
        closed.check_addresses("models.example.com", 443, [])


def test_what_a_server_names_is_not_on_this_machine() -> None:
    elsewhere = Reach().elsewhere((parse_rule("127.0.0.2"),))
    elsewhere.check("http://127.0.0.2/x")
    error = refused(elsewhere, "http://127.0.0.1/x")
    assert "--download-redirect-host" in error.message
    assert refused(granting("a.example").elsewhere(), "https://b.example/").reason == "NotGranted"


def test_a_refusal_shows_neither_a_signature_nor_a_password() -> None:
    error = refused(Reach(), "https://ann:secret@models.example.com/x?X-Amz-Signature=abc")
    assert error.reason == "HostInvalid"
    assert "secret" not in error.message
    assert "X-Amz" not in error.message


@given(st.ip_addresses())
def test_without_a_word_of_the_administrator_no_special_address_is_reached(address: object) -> None:
    found = ip_address(str(address))
    reach = Reach(STRICT)
    if special(found) is None:
        reach.check_addresses("a.example", 80, [found])
        return
    with pytest.raises(NotAllowed):
        reach.check_addresses("a.example", 80, [ip_address("10.0.0.1"), found])
    shown = f"[{found}]" if found.version == 6 else str(found)
    assert refused(reach, f"http://{shown}/").reason == "AddressRefused"
