"""Against the CRM counterpart of the sample company; time is a counter, so nothing waits."""

from __future__ import annotations

import ipaddress
import json
import socket
from collections.abc import Iterable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path
from time import monotonic
from typing import Any
from urllib.parse import urljoin

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from demo.counterparts import crm_server
from o2c.connections import Connection
from o2c.connectors import salesforce
from o2c.connectors.base import ControlTotals, ExtractRequest
from o2c.errors import FatalSourceError, SourceError, UsageError

CREDENTIALS = crm_server.Credentials("ada@example.com", "pass-word", "app", "app-secret", "token")
TOTAL = 25


class Time:
    """A clock that moves only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    def clock(self) -> float:
        return self.now


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    write(tmp_path, range(TOTAL))
    return tmp_path


def write(directory: Path, numbers: Iterable[int]) -> None:
    lines = [
        f'{{"Id": "006{number:03}", "Name": "Übung {number}", "Amount": {number}.10, '
        f'"CurrencyIsoCode": "{"JPY" if number % 2 else "EUR"}", "IsDeleted": {"true" if number == 7 else "false"}, '
        f'"SystemModstamp": "2025-01-{number // 3 + 1:02}T10:00:00.000+0000"}}\n'
        for number in numbers
    ]
    (directory / "Opportunity.jsonl").write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def server(directory: Path) -> Iterator[crm_server.CrmServer]:
    with crm_server.serve(directory, CREDENTIALS, smallest_page=1) as running:
        yield running


def request(server: crm_server.CrmServer, **changed: Any) -> ExtractRequest:
    extra = {
        "client_id": "app",
        "client_secret": "app-secret",
        "security_token": "token",
        "scheme": "http",
        "page_size": "10",
    }
    extra |= {"backoff": 1, **changed.pop("extra", {})}
    connection = Connection(
        "crm_api",
        "http",
        changed.pop("host", "127.0.0.1"),
        changed.pop("port", server.port),
        changed.pop("login", CREDENTIALS.login),
        changed.pop("password", CREDENTIALS.password),
        extra={key: value for key, value in extra.items() if value is not None},
    )
    source = {"object": "Opportunity", "fields": ["Id", "Name", "Amount", "CurrencyIsoCode"]}
    source |= {"cursor": ["SystemModstamp", "Id"], "overlap": "20m", **changed.pop("source", {})}
    return ExtractRequest("crm/opportunities", source, connection, Path(), **changed)


def run(wanted: ExtractRequest, time: Time) -> list[dict[str, Any]]:
    for part in salesforce.extract(wanted, sleep=time.sleep, clock=time.clock):
        return records(b"".join(part.blocks))
    raise AssertionError("no part")


def records(body: bytes) -> list[dict[str, Any]]:
    return [record for line in body.splitlines() for record in json.loads(line, parse_float=Decimal)["records"]]


def ids(found: list[dict[str, Any]]) -> list[str]:
    return [record["Id"] for record in found]


def test_all_pages_arrive_in_the_order_of_the_cursor(server: crm_server.CrmServer, time: Time) -> None:
    wanted = request(server, amount="Amount", currency="CurrencyIsoCode")
    for part in salesforce.extract(wanted, sleep=time.sleep, clock=time.clock):
        body = b"".join(part.blocks)
        control = part.control()
        assert part.name == "Opportunity.pages.jsonl" and body.count(b"\n") == 3
        assert ids(records(body)) == [f"006{number:03}" for number in range(TOTAL) if number != 7]
        assert part.origin["endpoint"] == server.url
        assert not {"pass-word", "app-secret", "token"} & set(map(str, part.origin.values()))
        assert control == ControlTotals(24, {"EUR": Decimal("157.30"), "JPY": Decimal("138.10")})
    assert time.slept == [] and server.logins == 1


def test_pages_are_kept_as_they_arrived(server: crm_server.CrmServer, time: Time) -> None:
    for part in salesforce.extract(request(server), sleep=time.sleep, clock=time.clock):
        first = next(part.blocks)
        assert b'"Amount":0.10,' in first and "Übung 0".encode() in first


def test_the_cursor_is_read_from_again_with_the_overlap(server: crm_server.CrmServer, time: Time) -> None:
    found = run(request(server, cursor=("2025-01-08 11:19:59+01:00", "006022"), source={"overlap": "20m"}), time)
    assert ids(found) == ["006021", "006022", "006023", "006024"]
    found = run(request(server, cursor=("2025-01-08T10:20:01.000+0000", "006022"), source={"overlap": "20m"}), time)
    assert ids(found) == ["006024"]


def test_an_empty_window_is_no_failure(server: crm_server.CrmServer, time: Time) -> None:
    for part in salesforce.extract(
        request(server, cursor=("2026-01-01T00:00:00Z", "")), sleep=time.sleep, clock=time.clock
    ):
        assert records(b"".join(part.blocks)) == []
        assert part.control() == ControlTotals(0)


def test_deleted_records_come_only_with_their_flag(server: crm_server.CrmServer, time: Time) -> None:
    found = run(request(server, source={"fields": ["Id", "IsDeleted"]}), time)
    assert [record["IsDeleted"] for record in found if record["Id"] == "006007"] == [True]
    found = run(request(server), time)
    assert "006007" not in ids(found)


def test_the_control_totals_see_what_the_pages_lack(server: crm_server.CrmServer, directory: Path, time: Time) -> None:
    for part in salesforce.extract(request(server), sleep=time.sleep, clock=time.clock):
        received = len(records(b"".join(part.blocks)))
        write(directory, range(1, TOTAL))
        assert part.control() == ControlTotals(received - 1)
        write(directory, [*range(TOTAL), 27, 28])
        assert part.control() == ControlTotals(received), "records behind the window belong to the next one"


def test_without_a_cursor_everything_is_read(server: crm_server.CrmServer, time: Time) -> None:
    wanted = request(server, source={"cursor": None, "overlap": None})
    for part in salesforce.extract(wanted, sleep=time.sleep, clock=time.clock):
        assert len(records(b"".join(part.blocks))) == 24 and part.control() == ControlTotals(24)
        assert "WHERE" not in part.origin["query"] and "ORDER" not in part.origin["query"]


def test_an_app_logs_in_alone(server: crm_server.CrmServer, time: Time) -> None:
    found = run(request(server, login="", password=""), time)
    assert len(found) == 24


def test_a_token_that_ends_midway_is_renewed_once(server: crm_server.CrmServer, time: Time) -> None:
    server.faults.add("expire_token", after=1)
    found = run(request(server), time)
    assert len(found) == 24 and server.logins == 2 and time.slept == []


def test_a_token_that_is_never_accepted_ends_the_run(server: crm_server.CrmServer, time: Time) -> None:
    server.faults.add("expire_token", times=9)
    with pytest.raises(FatalSourceError, match="INVALID_SESSION_ID") as refused:
        run(request(server), time)
    assert refused.value.reason == "unauthorized" and server.logins == 1


@pytest.mark.parametrize(
    "changed",
    [{"password": "wrong"}, {"login": "eve"}, {"extra": {"client_secret": "x"}}, {"extra": {"security_token": "x"}}],
)
def test_wrong_credentials_are_fatal_and_not_shown(
    server: crm_server.CrmServer, time: Time, changed: dict[str, Any]
) -> None:
    with pytest.raises(FatalSourceError, match="refused the login") as refused:
        run(request(server, **changed), time)
    assert refused.value.reason == "unauthorized" and time.slept == []
    for secret in ("wrong", "app-secret", "pass-word"):
        assert secret not in str(refused.value)


def test_a_rate_limit_is_honoured(server: crm_server.CrmServer, time: Time) -> None:
    server.faults.add("rate_limit", retry_after="37", after=1)
    found = run(request(server), time)
    assert len(found) == 24 and time.slept == [37]


def test_a_rate_limit_may_name_an_instant(server: crm_server.CrmServer, time: Time) -> None:
    server.faults.add("rate_limit", retry_after="Fri, 01 Jan 2100 00:00:00 GMT")
    with pytest.raises(SourceError, match="did not deliver within 900 s"):
        run(request(server), time)
    assert time.slept == []


def test_without_a_hint_the_wait_doubles_and_ends(server: crm_server.CrmServer, time: Time) -> None:
    server.faults.add("rate_limit", times=5)
    with pytest.raises(SourceError, match="in 5 attempts; the last: status 429"):
        run(request(server), time)
    assert time.slept == [1, 2, 4, 8]


def test_the_deadline_ends_the_waiting(server: crm_server.CrmServer, time: Time) -> None:
    server.faults.add("rate_limit", retry_after="30", times=9)
    with pytest.raises(SourceError, match="did not deliver within 100 s"):
        run(request(server, extra={"deadline": "100", "attempts": "9"}), time)
    assert time.slept == [30, 30, 30]


@pytest.mark.parametrize("kind", ["server_error", "html_error", "html", "malformed", "truncated", "error_body"])
def test_a_passing_fault_costs_one_wait(server: crm_server.CrmServer, time: Time, kind: str) -> None:
    server.faults.add(kind, after=1)
    found = run(request(server), time)
    assert len(found) == 24 and time.slept == [1]


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("server_error", "status 500"),
        ("html_error", "status 502"),
        ("html", "not the expected JSON: '<!DOCTYPE html>"),
        ("malformed", "not the expected JSON"),
        ("truncated", "no whole answer"),
        ("error_body", "not the expected JSON"),
    ],
)
def test_a_lasting_fault_fails_clearly(server: crm_server.CrmServer, time: Time, kind: str, message: str) -> None:
    server.faults.add(kind, times=5, after=1)
    with pytest.raises(SourceError, match=message) as failed:
        run(request(server), time)
    assert not isinstance(failed.value, FatalSourceError) and failed.value.next_step


def test_a_silent_server_is_given_up(server: crm_server.CrmServer, time: Time) -> None:
    server.faults.add("hang", times=2, seconds=5)
    with pytest.raises(SourceError, match=r"no whole answer \((ReadTimeout|ConnectionError)\)"):
        run(request(server, extra={"timeout": "0.03", "attempts": "2"}), time)
    assert time.slept == [1]


@pytest.mark.parametrize("kind", ["drip", "drip_body"])
def test_a_dripping_answer_ends_with_the_deadline(server: crm_server.CrmServer, kind: str) -> None:
    # A byte every 20 ms never runs into the timeout of 5 s, and would take a minute in all.
    server.faults.add(kind, times=9, seconds=0.02)
    limits = {"timeout": "5", "deadline": "0.4", "backoff": "0.01"}
    began = monotonic()
    with pytest.raises(SourceError, match="did not deliver within 0.4 s"):
        for part in salesforce.extract(request(server, extra=limits)):
            list(part.blocks)
    assert monotonic() - began < 3


def test_a_wait_that_is_asked_for_as_an_instant_is_counted_from_the_servers_clock(
    server: crm_server.CrmServer, time: Time
) -> None:
    asked = formatdate(datetime.now(UTC).timestamp() + 90, usegmt=True)
    server.faults.add("rate_limit", retry_after=asked)
    assert len(run(request(server), time)) == 24
    (slept,) = time.slept
    assert 85 <= slept <= 90


@pytest.mark.parametrize("retry_after", ["soon", "-5", "1.5", ""])
def test_a_hint_that_says_nothing_is_not_followed(server: crm_server.CrmServer, time: Time, retry_after: str) -> None:
    server.faults.add("rate_limit", retry_after=retry_after)
    assert len(run(request(server), time)) == 24 and time.slept == [1]


def test_pages_that_shift_while_they_are_read_are_noticed(server: crm_server.CrmServer, time: Time) -> None:
    # One record comes twice and one never: the number of records is right all the same.
    server.faults.add("shift", after=1)
    with pytest.raises(SourceError, match="the pages shift") as failed:
        run(request(server), time)
    assert not isinstance(failed.value, FatalSourceError)


def test_ties_of_the_cursor_are_read_to_the_last(server: crm_server.CrmServer, directory: Path, time: Time) -> None:
    stamp = "2025-01-08T10:00:00.000+0000"
    lines = [f'{{"Id": "006{number:05}", "Name": "x", "SystemModstamp": "{stamp}"}}\n' for number in range(2_500)]
    (directory / "Opportunity.jsonl").write_text("".join(lines))
    source = {"fields": ["Id", "Name"]}
    for cursor in (None, ("2025-01-08T10:00:00.000+0000", "00602499")):
        found = run(request(server, source=source, cursor=cursor, extra={"page_size": "1000"}), time)
        assert ids(found) == [f"006{number:05}" for number in range(2_500)]


def test_nobody_listening_is_a_clear_error(server: crm_server.CrmServer, time: Time) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    with pytest.raises(SourceError, match="no usable answer in 5 attempts"):
        run(request(server, port=port), time)


@pytest.mark.parametrize(("kind", "after"), [("repeat_next", 1), ("empty_next", 0)])
def test_a_circle_of_links_is_seen(server: crm_server.CrmServer, time: Time, kind: str, after: int) -> None:
    server.faults.add(kind, after=after, times=9)
    with pytest.raises(SourceError, match="circle or to nothing"):
        run(request(server), time)


def test_a_short_answer_is_never_a_success(server: crm_server.CrmServer, time: Time) -> None:
    server.faults.add("short", after=2)
    with pytest.raises(SourceError, match="promised 24 records and sent 23"):
        run(request(server), time)


@pytest.mark.parametrize("kind", ["foreign_next", "redirect"])
def test_no_link_leads_away(server: crm_server.CrmServer, time: Time, kind: str) -> None:
    server.faults.add(kind)
    with pytest.raises(FatalSourceError) as refused:
        run(request(server), time)
    assert refused.value.reason == "foreign_link"


@pytest.mark.parametrize(
    ("link", "is_own"),
    [
        ("/services/x", True),
        ("http://crm.example:80/x", True),
        ("https://crm.example/x", False),
        ("//other.example/x", False),
        ("http://crm.example:81/x", False),
        ("http://crm.example@other.example/x", False),
        ("http://crm.example:x/", False),
    ],
)
def test_the_origin_of_a_link(link: str, is_own: bool) -> None:
    own = salesforce._origin("http://crm.example")
    assert (salesforce._origin(urljoin("http://crm.example/", link)) == own) is is_own


def test_the_daily_limit_is_not_hammered(server: crm_server.CrmServer, time: Time) -> None:
    server.faults.add("request_limit")
    with pytest.raises(SourceError, match="REQUEST_LIMIT_EXCEEDED") as failed:
        run(request(server), time)
    assert not isinstance(failed.value, FatalSourceError) and time.slept == []


@pytest.mark.parametrize(
    ("source", "message"), [({"fields": ["Id", "Nope"]}, "No such column 'Nope'"), ({"object": "Nope"}, "Nope")]
)
def test_a_field_that_is_gone_is_named(
    server: crm_server.CrmServer, time: Time, source: dict[str, Any], message: str
) -> None:
    with pytest.raises(FatalSourceError, match=message) as drifted:
        run(request(server, source=source), time)
    assert drifted.value.reason == "schema_drift"


@pytest.mark.parametrize(
    "changed",
    [
        {"source": {"object": "Account WHERE Id != null"}},
        {"source": {"fields": ["Id", "(SELECT Id FROM Contacts)"]}},
        {"source": {"fields": [], "cursor": None}},
        {"amount": "Amount) x FROM User", "currency": "CurrencyIsoCode"},
        {"cursor": ("yesterday' OR Id != null", "")},
        {"source": {"overlap": "soon"}, "cursor": ("2025-01-01T00:00:00Z", "")},
        {"host": "crm.example.com"},
        {"host": "127.0.0.1/evil"},
        {"extra": {"client_id": None}},
        {"extra": {"attempts": "many"}},
        {"extra": {"api_version": "59/../.."}},
    ],
)
def test_what_cannot_be_used_is_refused_before_a_question_is_asked(
    server: crm_server.CrmServer, time: Time, changed: dict[str, Any]
) -> None:
    with pytest.raises(UsageError) as refused:
        run(request(server, **changed), time)
    assert refused.value.next_step and server.logins == 0


def self_signed(folder: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, datetime(2020, 1, 1), datetime(2100, 1, 1))
    certificate = builder.add_extension(address, critical=False).sign(key, hashes.SHA256())
    pem, no_password = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(pem))
    (folder / "key.pem").write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    return folder / "certificate.pem", folder / "key.pem"


def test_only_a_trusted_certificate_is_accepted(directory: Path, time: Time) -> None:
    certificate, key = self_signed(directory)
    with crm_server.serve(directory, CREDENTIALS, smallest_page=1, certificate=certificate, private_key=key) as server:
        with pytest.raises(FatalSourceError, match="no trusted TLS") as refused:
            run(request(server, extra={"scheme": None}), time)
        assert refused.value.reason == "untrusted_certificate" and server.logins == 0
        assert len(run(request(server, extra={"scheme": None, "ca_bundle": str(certificate)}), time)) == 24


def test_a_pretty_page_stays_one_line() -> None:
    page = salesforce._page(b'{\n "totalSize": 1,\r\n "done": true,\n "records": [{"Id": "1"}]\n}\n')
    assert page is not None and b"\n" not in page.body and json.loads(page.body)["records"] == [{"Id": "1"}]


@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b'{"records": 1}',
        b'{"records": [1], "totalSize": 1, "done": true}',
        b'{"records": [], "done": true}',
        b'{"records": [], "totalSize": 0, "done": false}',
        b'{"records": [], "totalSize": 0, "done": true, "nextRecordsUrl": "/x"}',
    ],
)
def test_what_is_no_page(body: bytes) -> None:
    assert salesforce._page(body) is None


def test_the_key_list_pages_over_all_living_records(server: crm_server.CrmServer, time: Time) -> None:
    wanted = request(
        server, cursor=("2025-01-05T10:00:00.000+0000", "006"), amount="Amount", currency="CurrencyIsoCode"
    )
    with closing(salesforce.list_keys(wanted, ["Id", "SystemModstamp"])) as parts:  # type: ignore[type-var]
        part = next(parts)
        found, control = records(b"".join(part.blocks)), part.control()
    assert sorted(ids(found)) == [f"006{number:03}" for number in range(TOTAL) if number != 7]
    assert all(record.keys() == {"attributes", "Id", "SystemModstamp"} for record in found)
    assert control == ControlTotals(TOTAL - 1)
    assert part.origin["query"] == "SELECT Id, SystemModstamp FROM Opportunity"
