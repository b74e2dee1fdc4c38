"""What the device must be like for an update: decisions, and reading a real tree of sysfs files."""

import http.server
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from edgecanary.agent.gatekeeper import Gatekeeper
from edgecanary.agent.machine import State
from edgecanary.agent.preconditions import Conditions, Readings, holds_activation, holds_download
from edgecanary.agent.surroundings import Places, read_device, read_link
from edgecanary.api.edgenode import ModelResult, ModelState
from edgecanary.api.modelrelease import RevisionStatement
from edgecanary.api.policy import UpdateWindow
from edgecanary.base.errors import InvalidInput
from edgecanary.clients.localhook import parse_hook
from tests.unit.agent.nodeplay import node, quiet
from tests.unit.agent.releasing import Releases, everywhere, statement, until
from tests.unit.fileserver import Behaviour, FileServer, file_server

MAINS = Conditions(require_mains=True)
CHARGE = Conditions(min_battery_percent=40)
HEAT = Conditions(max_temperature_celsius=70)


def supply(root: Path, name: str, **values: str) -> None:
    put(root / "class/power_supply" / name, values)


def zone(root: Path, number: int, temp: str) -> None:
    put(root / f"class/thermal/thermal_zone{number}", {"temp": temp})


def put(folder: Path, values: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in values.items():
        (folder / name).write_text(f"{text}\n")


def why(conditions: Conditions, places: Places) -> str:
    held = holds_activation(conditions, read_device(conditions, places))
    return "" if held is None else held.reason


POWER = [
    ("ac type=Mains online=1", "", ""),
    ("ac type=Mains online=0, b type=Battery capacity=90", "OnBattery", ""),
    ("ac type=Mains online=0, b type=Battery capacity=39", "OnBattery", "OnBattery"),
    ("usb type=USB online=1, ac type=Mains online=0", "", ""),
    ("b type=Battery capacity=10 status=Charging", "", ""),
    ("b type=Battery capacity=10 status=Discharging", "OnBattery", "OnBattery"),
    ("b type=Battery capacity=80 status=Unknown", "PowerUnknown", ""),
    ("b type=Battery capacity=80, c type=Battery capacity=20", "PowerUnknown", "OnBattery"),
    ("b type=Battery capacity=lots", "PowerUnknown", "PowerUnknown"),
    ("b type=Battery capacity=150", "PowerUnknown", "PowerUnknown"),
    ("ac type=Mains online=?", "PowerUnknown", "PowerUnknown"),
    ("mouse type=Battery scope=Device capacity=99 status=Full", "PowerUnknown", "PowerUnknown"),
    ("b type=Battery present=0 capacity=99", "PowerUnknown", "PowerUnknown"),
    ("b capacity=99", "PowerUnknown", "PowerUnknown"),
    ("", "PowerUnknown", "PowerUnknown"),
]
"""Supplies with their files; why a switch is held that needs mains, and one that needs charge."""


@pytest.mark.parametrize(("supplies", "mains", "charge"), POWER)
def test_power_supplies_hold_a_switch_and_what_is_unknown_does_too(
    tmp_path: Path, supplies: str, mains: str, charge: str
) -> None:
    for text in filter(None, supplies.split(", ")):
        name, *values = text.split()
        supply(tmp_path, name, **dict(value.split("=") for value in values))
    assert (why(MAINS, Places(tmp_path)), why(CHARGE, Places(tmp_path))) == (mains, charge)


@pytest.mark.parametrize(
    ("zones", "reason"),
    [
        (["45000", "70000"], ""),
        (["45000", "70100"], "TooHot"),
        (["-274000", "50000"], ""),
        (["hot", "50000"], ""),
        (["hot", ""], "TemperatureUnknown"),
        (["999000"], "TemperatureUnknown"),
        ([], "TemperatureUnknown"),
    ],
)
def test_the_hottest_plausible_zone_counts(tmp_path: Path, zones: list[str], reason: str) -> None:
    for number, text in enumerate(zones):
        zone(tmp_path, number, text)
    assert why(HEAT, Places(tmp_path)) == reason


def test_nothing_is_read_that_no_condition_is_about() -> None:
    assert read_device(Conditions(), Places(Path("/nowhere"))) == Readings()
    assert holds_activation(Conditions(), Readings()) is None
    assert holds_download(Conditions(), Readings()) is None


@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, None), ("", None), ("0", None), ("no", None), ("1", "Metered"), ("lte", "Metered")],
)
def test_a_metered_link_holds_downloads_alone(
    tmp_path: Path, content: str | None, reason: str | None
) -> None:
    path = tmp_path / "metered"
    if content is not None:
        path.write_text(content)
    conditions, places = Conditions(asks_for_link=True), Places(metered_file=path)
    held = holds_download(conditions, read_link(places))

    assert (held and held.reason) == reason
    assert holds_activation(conditions, read_device(conditions, places)) is None


def test_a_metered_file_that_cannot_be_read_holds(tmp_path: Path) -> None:
    conditions = Conditions(asks_for_link=True)
    held = holds_download(conditions, read_link(Places(metered_file=tmp_path)))
    assert held is not None
    assert held.reason == "LinkUnknown"


def test_a_hold_file_holds_with_its_words(tmp_path: Path) -> None:
    conditions, places = Conditions(asks_application=True), Places(hold_file=tmp_path / "hold")
    assert why(conditions, places) == ""
    (tmp_path / "hold").write_text("surgery in progress")
    held = holds_activation(conditions, read_device(conditions, places))

    assert held is not None
    assert (held.reason, "surgery in progress" in held.message) == ("HeldByApplication", True)
    assert why(conditions, Places(hold_file=tmp_path)) == "HoldUnanswered"


class _Hook(http.server.BaseHTTPRequestHandler):
    status = 200

    def do_GET(self) -> None:
        if self.path == "/slow":
            self.wfile.write(b"HTTP/1.1 200 ")
            threading.Event().wait(20)
        self.send_response(self.status)
        self.end_headers()
        self.wfile.write(b"busy" if self.status != 200 else b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        return


@contextmanager
def hook(status: int) -> Iterator[int]:
    handler = type("Hook", (_Hook,), {"status": status})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        yield int(server.server_address[1])
        server.shutdown()


HOOK = [(200, ""), (204, ""), *((status, "HeldByApplication") for status in (403, 409, 423, 429, 503))]
HOOK += [(status, "HoldUnanswered") for status in (302, 404, 500)]


@pytest.mark.parametrize(("status", "reason"), HOOK)
def test_a_hook_allows_refuses_or_is_broken_and_only_the_first_lets_go(status: int, reason: str) -> None:
    conditions = Conditions(asks_application=True)
    with hook(status) as port:
        asked = parse_hook(f"http://127.0.0.1:{port}/hold", field="--hold-url")
        assert why(conditions, Places(hold_hook=asked)) == reason


def test_a_hook_that_is_gone_or_takes_too_long_holds_and_says_so() -> None:
    conditions = Conditions(asks_application=True)
    with hook(200) as port:
        slow = parse_hook(f"http://127.0.0.1:{port}/slow", field="--hold-url")
        held = holds_activation(conditions, read_device(conditions, Places(hold_hook=slow)))
    assert held is not None
    assert held.reason == "HoldUnanswered"
    assert "it took more than 2 s; it is asked again every" in held.message
    gone = parse_hook(f"http://127.0.0.1:{port}/hold", field="--hold-url")
    assert why(conditions, Places(hold_hook=gone)) == "HoldUnanswered"


def test_a_hook_may_be_a_unix_socket(tmp_path: Path) -> None:
    class Server(socketserver.ThreadingUnixStreamServer):
        def get_request(self) -> tuple[object, str]:  # type: ignore[override]
            return super().get_request()[0], "local"

    handler = type("Hook", (_Hook,), {"status": 423, "address_string": lambda _: "local"})
    with Server(str(tmp_path / "app.sock"), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        asked = parse_hook(f"unix:{tmp_path}/app.sock:/hold", field="--hold-url")
        assert why(Conditions(asks_application=True), Places(hold_hook=asked)) == "HeldByApplication"
        server.shutdown()


@pytest.mark.parametrize(
    "text",
    [
        "http://10.0.0.1/hold",
        "https://127.0.0.1/hold",
        "http://example.com/",
        "http://u@127.0.0.1/",
        "hold",
        "unix:app",
    ],
)
def test_a_hook_elsewhere_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput, match="--hold-url: must be http:// on this device's loopback"):
        parse_hook(text, field="--hold-url")


@pytest.fixture
def files() -> Iterator[FileServer]:
    with file_server() as running:
        yield running


@pytest.fixture(autouse=True)
def looks_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgecanary.agent.steps.LOOK_AGAIN_SECONDS", 0.05)
    monkeypatch.setattr("edgecanary.agent.preconditions.LOOK_AGAIN_SECONDS", 0.05)


def a_and_b(files: FileServer) -> tuple[RevisionStatement, RevisionStatement]:
    return statement("1.0.0", publish=files.put), statement("2.0.0", publish=files.put)


async def test_a_node_on_battery_fetches_now_switches_on_mains_and_goes_back_at_any_time(
    tmp_path: Path, files: FileServer
) -> None:
    a, b = a_and_b(files)
    root = tmp_path / "sys"
    supply(root, "ac", type="Mains", online="1")
    async with node(tmp_path / "data", gatekeeper=Gatekeeper(MAINS, Places(root))) as edge:
        releases = Releases()
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        supply(root, "ac", online="0")
        edge.hear(releases.next(stable=a, canary=everywhere(b)))
        await until(lambda: edge.record.outcome.reason == "OnBattery")
        assert edge.home.is_installed(b.revision)
        assert edge.serves == a.revision
        assert edge.record.state is State.WINDOW
        outcome = edge.record.outcome
        assert (outcome.state, outcome.result, outcome.desired) == (
            ModelState.PENDING,
            ModelResult.NONE,
            b.revision,
        )
        assert edge.news[-1].reason == "OnBattery"

        supply(root, "ac", online="1")
        await edge.settles(b)
        supply(root, "ac", online="0")
        edge.hear(releases.next(stable=a))
        await edge.settles(a)


async def test_a_link_that_becomes_metered_ends_a_download_which_goes_on_later(
    tmp_path: Path, files: FileServer
) -> None:
    a, b = a_and_b(files)
    flag = tmp_path / "metered"
    keeper = Gatekeeper(Conditions(asks_for_link=True), Places(metered_file=flag))
    async with node(tmp_path / "data", gatekeeper=keeper) as edge:
        releases = Releases()
        edge.hear(releases.next(stable=a))
        await edge.settles(a)
        files.behaviour = Behaviour(pause_after=10)
        edge.hear(releases.next(stable=b))
        await until(lambda: len(files.seen) == 2)
        flag.write_text("1")
        await until(lambda: edge.record.outcome.reason == "Metered")
        await quiet()
        assert len(files.seen) == 2
        assert edge.serves == a.revision

        files.behaviour = Behaviour()
        flag.unlink()
        await edge.settles(b)


async def test_windows_hold_downloads_where_the_node_is_told_so(tmp_path: Path, files: FileServer) -> None:
    a, _ = a_and_b(files)
    windows = (UpdateWindow(schedule="0 2 * * *", duration_seconds=3600),)
    keeper = Gatekeeper(Conditions(windows_hold_downloads=True))
    async with node(tmp_path / "data", gatekeeper=keeper) as edge:
        edge.hear(Releases(windows=windows).next(stable=a))
        await until(lambda: edge.record.outcome.reason == "OutsideWindow")
        assert edge.record.state is State.DOWNLOAD
        assert files.seen == []
        edge.clock.time = edge.clock.time.replace(day=2, hour=2, minute=30)
        edge.hear(Releases(windows=windows, sequence=1).next(stable=a))
        await edge.settles(a)
