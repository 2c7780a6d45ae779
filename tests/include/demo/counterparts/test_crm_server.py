"""The public client speaks to the counterpart over TLS; the rest is asked by hand."""

from __future__ import annotations

import datetime
import ipaddress
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import requests
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from simple_salesforce import Salesforce, SalesforceLogin
from simple_salesforce.exceptions import (
    SalesforceAuthenticationFailed,
    SalesforceExpiredSession,
    SalesforceMalformedRequest,
)

from demo.counterparts import crm_server
from demo.counterparts.loopback import ServerFailed

CREDENTIALS = crm_server.Credentials("ada@example.com", "pass<word>&", "app", "app-secret", "token")
TOTAL = 25


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    lines = [
        f'{{"Id": "006{number:03}", "Name": "Deal {number}", "Amount": {number}.10, "CurrencyIsoCode": "EUR",'
        f' "SystemModstamp": "2025-01-{number // 3 + 1:02}T10:00:00.000+0000",'
        f' "IsDeleted": {"true" if number == 7 else "false"}}}\n'
        for number in range(TOTAL)
    ]
    folder = tmp_path / "crm"
    folder.mkdir()
    (folder / "Opportunity.jsonl").write_text("".join(lines))
    return folder


@pytest.fixture
def server(directory: Path) -> Iterator[crm_server.CrmServer]:
    with crm_server.serve(directory, CREDENTIALS, smallest_page=1) as running:
        yield running


@pytest.fixture
def tls(tmp_path: Path) -> tuple[Path, Path]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(datetime.datetime(2020, 1, 1))
        .not_valid_after(datetime.datetime(2100, 1, 1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = serialization.Encoding.PEM
    certificate_path, key_path = tmp_path / "certificate.pem", tmp_path / "key.pem"
    certificate_path.write_bytes(certificate.public_bytes(pem))
    no_password = serialization.NoEncryption()
    key_path.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, no_password))
    return certificate_path, key_path


@pytest.fixture
def secure(directory: Path, tls: tuple[Path, Path]) -> Iterator[crm_server.CrmServer]:
    with crm_server.serve(directory, CREDENTIALS, smallest_page=1, certificate=tls[0], private_key=tls[1]) as running:
        yield running


@pytest.fixture
def session(tls: tuple[Path, Path]) -> requests.Session:
    opened = requests.Session()
    opened.verify = str(tls[0])
    opened.trust_env = False
    return opened


def log_in(server: crm_server.CrmServer, session: requests.Session, password: str = CREDENTIALS.password) -> Salesforce:
    session_id, instance = SalesforceLogin(
        username=CREDENTIALS.login, password=password, security_token="token", scratch_url=server.url, session=session
    )
    return Salesforce(session_id=session_id, instance=instance, session=session, version="59.0")


def test_the_public_client_logs_in_and_pages(secure: crm_server.CrmServer, session: requests.Session) -> None:
    client = log_in(secure, session)
    page = client.query(
        "SELECT Id, Amount FROM Opportunity ORDER BY Id", headers={"Sforce-Query-Options": "batchSize=10"}
    )
    assert (page["totalSize"], page["done"], len(page["records"])) == (TOTAL - 1, False, 10)
    second = client.query_more(page["nextRecordsUrl"], identifier_is_url=True)
    assert second["done"] and len(second["records"]) == TOTAL - 11
    assert page["records"][1]["attributes"]["type"] == "Opportunity"


def test_the_public_client_reads_all_counts_and_describes(
    secure: crm_server.CrmServer, session: requests.Session
) -> None:
    client = log_in(secure, session)
    assert len(client.query_all("SELECT Id FROM Opportunity", include_deleted=True)["records"]) == TOTAL
    assert client.query("SELECT COUNT() FROM Opportunity WHERE Amount >= 20")["totalSize"] == 5
    kinds = {field["name"]: field["type"] for field in client.Opportunity.describe()["fields"]}
    assert kinds["Amount"] == "double" and kinds["SystemModstamp"] == "datetime" and kinds["IsDeleted"] == "boolean"


def test_the_public_client_understands_the_refusals(secure: crm_server.CrmServer, session: requests.Session) -> None:
    with pytest.raises(SalesforceAuthenticationFailed, match="INVALID_LOGIN"):
        log_in(secure, session, password="wrong")
    client = log_in(secure, session)
    with pytest.raises(SalesforceMalformedRequest, match="INVALID_FIELD"):
        client.query("SELECT Nope FROM Opportunity")
    with pytest.raises(SalesforceMalformedRequest, match="MALFORMED_QUERY"):
        client.query("SELECT Id FROM")
    secure.expire_tokens()
    with pytest.raises(SalesforceExpiredSession, match="INVALID_SESSION_ID"):
        client.query("SELECT Id FROM Opportunity")


def token(server: crm_server.CrmServer, **changed: str) -> requests.Response:
    form = {
        "grant_type": "password",
        "client_id": "app",
        "client_secret": "app-secret",
        "username": CREDENTIALS.login,
        "password": CREDENTIALS.password + CREDENTIALS.security_token,
    }
    return requests.post(f"{server.url}/services/oauth2/token", data={**form, **changed}, timeout=5)


def ask(server: crm_server.CrmServer, query: str, kind: str = "query", **headers: str) -> requests.Response:
    headers = {"Authorization": f"Bearer {token(server).json()['access_token']}", **headers}
    return requests.get(f"{server.url}/services/data/v59.0/{kind}", params={"q": query}, headers=headers, timeout=5)


def test_both_grants_are_given_and_wrong_secrets_are_not(server: crm_server.CrmServer) -> None:
    assert token(server).status_code == 200
    assert token(server, grant_type="client_credentials", username="", password="").status_code == 200
    for wrong in ({"password": "x"}, {"client_secret": "x"}, {"grant_type": "x"}, {"client_id": ""}):
        refused = token(server, **wrong)
        assert refused.status_code == 400 and refused.json()["error"] == "invalid_grant"


def test_numbers_leave_exactly_as_they_stand_in_the_file(server: crm_server.CrmServer) -> None:
    answer = ask(server, "SELECT SUM(Amount) s FROM Opportunity WHERE Id IN ('006001', '006002')")
    assert json.loads(answer.text, parse_float=Decimal)["records"][0]["s"] == Decimal("3.20")
    assert '"s":3.20' in answer.text


def test_a_changed_file_is_read_again(server: crm_server.CrmServer, directory: Path) -> None:
    with (directory / "Opportunity.jsonl").open("a") as lines:
        lines.write('{"Id": "006999", "Name": "New"}\n')
    assert (
        ask(server, "SELECT Name, Amount FROM Opportunity WHERE Id = '006999'").json()["records"][0]["Amount"] is None
    )


def test_a_cursor_survives_a_change_between_its_pages(server: crm_server.CrmServer, directory: Path) -> None:
    first = ask(server, "SELECT Id FROM Opportunity ORDER BY Id", **{"Sforce-Query-Options": "batchSize=20"}).json()
    (directory / "Opportunity.jsonl").write_text('{"Id": "1"}\n')
    headers = {"Authorization": f"Bearer {token(server).json()['access_token']}"}
    second = requests.get(server.url + first["nextRecordsUrl"], headers=headers, timeout=5).json()
    assert [record["Id"] for record in second["records"]] == ["006021", "006022", "006023", "006024"]


def test_pages_are_never_smaller_than_the_real_ones(directory: Path) -> None:
    with crm_server.serve(directory, CREDENTIALS) as running:
        assert ask(running, "SELECT Id FROM Opportunity", **{"Sforce-Query-Options": "batchSize=2"}).json()["done"]


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("SELECT Id FROM Nope", "INVALID_TYPE"),
        ("SELECT Id FROM Opportunity WHERE Nope = 1", "INVALID_FIELD"),
        ("SELECT Id FROM Opportunity WHERE Name > 1", "INVALID_FIELD"),
        ("nonsense", "MALFORMED_QUERY"),
    ],
)
def test_refused_queries(server: crm_server.CrmServer, query: str, code: str) -> None:
    answer = ask(server, query)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (400, code)


def test_unknown_places_and_missing_tokens(server: crm_server.CrmServer) -> None:
    assert requests.get(server.url + "/elsewhere", timeout=5).status_code == 404
    assert requests.post(server.url + "/elsewhere", timeout=5).status_code == 404
    answer = requests.get(server.url + "/services/data/v59.0/query?q=x", timeout=5)
    assert (answer.status_code, answer.json()[0]["errorCode"]) == (401, "INVALID_SESSION_ID")
    assert ask(server, "", kind="sobjects/Nope/describe").status_code == 404


def test_a_parent_field_is_nested(server: crm_server.CrmServer, directory: Path) -> None:
    (directory / "Contact.jsonl").write_text('{"Id": "1", "Account": {"Name": "A"}}\n{"Id": "2", "Account": null}\n')
    records = ask(server, "SELECT Id, Account.Name FROM Contact").json()["records"]
    assert records[0]["Account"]["Name"] == "A" and records[1]["Account"] is None


def test_a_rate_limit_says_when_to_come_back(server: crm_server.CrmServer) -> None:
    server.faults.add("rate_limit", retry_after="7")
    limited = ask(server, "SELECT Id FROM Opportunity")
    assert (limited.status_code, limited.headers["Retry-After"]) == (429, "7")
    assert ask(server, "SELECT Id FROM Opportunity").status_code == 200


def test_it_serves_loopback_only_and_says_when_a_port_is_taken(directory: Path, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="not a loopback"):
        crm_server.serve(directory, CREDENTIALS, host="0.0.0.0")
    with pytest.raises(ServerFailed, match="no folder"):
        crm_server.serve(tmp_path / "none", CREDENTIALS)
    with crm_server.serve(directory, CREDENTIALS) as running, pytest.raises(ServerFailed, match="cannot be used"):
        crm_server.serve(directory, CREDENTIALS, port=running.port)


ENVIRONMENT = {
    "O2C_DEMO_CRM_LOGIN": CREDENTIALS.login,
    "O2C_DEMO_CRM_PASSWORD": CREDENTIALS.password,
    "O2C_DEMO_CRM_CLIENT_ID": CREDENTIALS.client_id,
    "O2C_DEMO_CRM_CLIENT_SECRET": CREDENTIALS.client_secret,
    "O2C_DEMO_CRM_SECURITY_TOKEN": CREDENTIALS.security_token,
}


def start(directory: Path, port_file: Path, port: int = 0, **changed: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "demo.counterparts.crm_server", "--directory", str(directory)]
    command += ["--port", str(port), "--port-file", str(port_file)]
    environment = {**os.environ, **ENVIRONMENT, **changed}
    return subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)


def wait_for(port_file: Path, process: subprocess.Popen[Any]) -> int:
    for _ in range(400):
        if port_file.exists():
            return int(port_file.read_text())
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.025)
    raise AssertionError("the server did not come up")


def test_the_program_serves_until_it_is_told_to_end(directory: Path, tmp_path: Path) -> None:
    process = start(directory, tmp_path / "port")
    try:
        port = wait_for(tmp_path / "port", process)
        answer = requests.get(f"http://127.0.0.1:{port}/services/data/v59.0/query", timeout=5)
        assert answer.status_code == 401
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.communicate()


def test_the_program_says_what_is_missing(directory: Path, tmp_path: Path) -> None:
    process = start(directory, tmp_path / "port", O2C_DEMO_CRM_PASSWORD="")
    _, message = process.communicate(timeout=20)
    assert process.returncode == 2 and "O2C_DEMO_CRM_PASSWORD" in message and "Traceback" not in message


def test_the_program_says_that_the_port_is_taken(directory: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = start(directory, tmp_path / "port", port=taken.getsockname()[1])
        _, message = process.communicate(timeout=20)
    assert process.returncode == 1 and "cannot be used" in message and "Traceback" not in message
