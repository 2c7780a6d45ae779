"""A CRM that speaks Salesforce's REST query protocol over ``<directory>/<Object>.jsonl``, on loopback only.

One JSON record per line, API field names; a file that changed is read again. Understands the OAuth token end point
(password and client credentials), the SOAP login, ``query``, ``queryAll``, paging by ``nextRecordsUrl``, describe,
and the errors of the real thing. ``Faults`` breaks answers on demand, for tests.

Run alone: ``python -m demo.counterparts.crm_server --directory D --port P --port-file F`` with the credentials in
``O2C_DEMO_CRM_LOGIN``, ``_PASSWORD``, ``_SECURITY_TOKEN`` (may be empty), ``_CLIENT_ID`` and ``_CLIENT_SECRET``.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import json
import os
import re
import secrets
import signal
import ssl
import sys
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape, unescape

from demo.counterparts import soql
from demo.counterparts.loopback import ServerFailed, check_loopback, write_port

_DATA = re.compile(r"/services/data/v(?P<version>\d+\.\d)/(?P<rest>.*)")
_OBJECT_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")
_ALWAYS_KNOWN = {"Id", "IsDeleted", "SystemModstamp"}
_LARGEST_PAGE = 2_000
_OPEN_CURSORS = 50


@dataclass(frozen=True)
class Credentials:
    """What a client must show: user and password (with security token), and the app's id and secret."""

    login: str
    password: str = field(repr=False)
    client_id: str = ""
    client_secret: str = field(default="", repr=False)
    security_token: str = field(default="", repr=False)


@dataclass
class Fault:
    """One broken answer to a data request.

    ``kind``: rate_limit (429), request_limit (403), server_error (500), html (200 with a page), html_error (502),
    truncated, malformed, error_body (200 with an error list), repeat_next, foreign_next, empty_next, short,
    redirect, expire_token, hang, shift (a page begins one record early), drip (a byte every ``seconds``), drip_body
    (the same behind a head that comes at once).
    """

    kind: str
    retry_after: str | None = None
    seconds: float = 0.0


class Faults:
    """A queue of faults: each data request takes the next one; ``after`` good answers come first."""

    def __init__(self) -> None:
        self._queue: deque[Fault | None] = deque()
        self._lock = threading.Lock()

    def add(
        self, kind: str, *, times: int = 1, after: int = 0, retry_after: str | None = None, seconds: float = 0.0
    ) -> None:
        """Break the next ``times`` data requests, letting ``after`` of them pass first."""
        with self._lock:
            self._queue.extend([None] * after)
            self._queue.extend([Fault(kind, retry_after, seconds)] * times)

    def take(self) -> Fault | None:
        """The fault for this data request, if any."""
        with self._lock:
            return self._queue.popleft() if self._queue else None


class Records:
    """The objects of a folder, read on first use and again when their file changes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._cache: dict[str, tuple[tuple[int, int], list[dict[str, Any]], set[str]]] = {}
        self._lock = threading.Lock()

    def of(self, name: str) -> tuple[list[dict[str, Any]], set[str]]:
        """Records and known fields of an object; raises :class:`soql.SoqlError` when there is none of that name."""
        path = self._directory / f"{name}.jsonl"
        if not _OBJECT_NAME.fullmatch(name) or not path.is_file():
            raise soql.SoqlError("INVALID_TYPE", f"sObject type '{name}' is not supported.")
        status = path.stat()
        stamp = (status.st_mtime_ns, status.st_size)
        with self._lock:
            if name not in self._cache or self._cache[name][0] != stamp:
                self._cache[name] = (stamp, *_read(path))
            return self._cache[name][1:]


def _read(path: Path) -> tuple[list[dict[str, Any]], set[str]]:
    records, fields = [], set(_ALWAYS_KNOWN)
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            if line.strip():
                # Exact numbers: a float would change cents on the way.
                record = {"IsDeleted": False, **json.loads(line, parse_float=Decimal)}
                record.pop("attributes", None)
                records.append(record)
                fields.update(record)
    return records, fields


def to_json(value: Any) -> str:
    """JSON with exact decimals and without line breaks."""
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{json.dumps(str(key))}:{to_json(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(to_json, value)) + "]"
    if isinstance(value, Decimal):
        return format(value, "f")
    return json.dumps(value, ensure_ascii=False)


class Sessions:
    """Access tokens and open query cursors."""

    def __init__(self, credentials: Credentials, token_seconds: float) -> None:
        self._credentials = credentials
        self._token_seconds = token_seconds
        self._tokens: dict[str, float] = {}
        self._cursors: OrderedDict[str, list[Any]] = OrderedDict()
        self._lock = threading.Lock()
        self.logins = 0

    def log_in(self, form: Mapping[str, str]) -> str | None:
        """A new token for the OAuth form, or None when it is refused."""
        known = self._credentials
        app = f"{form.get('client_id', '')}\0{form.get('client_secret', '')}"
        if not _same(app, f"{known.client_id}\0{known.client_secret}") or not known.client_id:
            return None
        if form.get("grant_type") == "client_credentials":
            return self._issue()
        if form.get("grant_type") != "password":
            return None
        return self.log_in_user(form.get("username", ""), form.get("password", ""))

    def log_in_user(self, login: str, password: str) -> str | None:
        """A new token for a user whose password carries the security token at its end."""
        known = self._credentials
        if known.login and _same(f"{login}\0{password}", f"{known.login}\0{known.password}{known.security_token}"):
            return self._issue()
        return None

    def _issue(self) -> str:
        token = "00D" + secrets.token_urlsafe(32)
        with self._lock:
            self._tokens[token] = time.monotonic() + self._token_seconds
            self.logins += 1
        return token

    def is_valid(self, token: str) -> bool:
        """True while the token may be used."""
        with self._lock:
            return self._tokens.get(token, 0.0) > time.monotonic()

    def expire_all(self) -> None:
        """Make every token invalid at once."""
        with self._lock:
            self._tokens.clear()

    def keep(self, found: list[Any]) -> str:
        """Remember a query's answer for its later pages; the oldest cursor is forgotten."""
        locator = "01g" + secrets.token_hex(8)
        with self._lock:
            self._cursors[locator] = found
            while len(self._cursors) > _OPEN_CURSORS:
                self._cursors.popitem(last=False)
        return locator

    def cursor(self, locator: str) -> list[Any] | None:
        """The remembered answer, or None when the cursor is not known any more."""
        with self._lock:
            return self._cursors.get(locator)


def _same(given: str, known: str) -> bool:
    return hmac.compare_digest(given.encode(), known.encode())


@dataclass
class Answer:
    """One HTTP answer before it is written."""

    status: int
    body: str
    content_type: str = "application/json;charset=UTF-8"
    headers: dict[str, str] = field(default_factory=dict)
    cut: bool = False
    drip: float = 0.0
    head_at_once: bool = False


def error_answer(status: int, code: str, message: str, **headers: str) -> Answer:
    """An error as Salesforce words it: a list of one code and message."""
    return Answer(status, to_json([{"message": message, "errorCode": code}]), headers=headers)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Headers and body leave in one packet; two would wait for each other.
    wbufsize = -1
    disable_nagle_algorithm = True
    server: _HttpServer
    _shift = 0

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: query strings hold customer names."""

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
        path = urlsplit(self.path).path
        if path == "/services/oauth2/token":
            self._send(self._token(body))
        elif path.startswith("/services/Soap/u/"):
            self._send(self._soap(body))
        else:
            self._send(error_answer(404, "NOT_FOUND", "The requested resource does not exist"))

    def do_GET(self) -> None:
        try:
            self._send(self._data())
        except soql.SoqlError as error:
            self._send(error_answer(400, error.code, str(error)))

    def _token(self, body: str) -> Answer:
        form = {name: values[0] for name, values in parse_qs(body, keep_blank_values=True).items()}
        scheme, _, encoded = (self.headers.get("Authorization") or "").partition(" ")
        if scheme == "Basic":
            form["client_id"], _, form["client_secret"] = base64.b64decode(encoded).decode().partition(":")
        token = self.server.sessions.log_in(form)
        if token is None:
            refusal = {"error": "invalid_grant", "error_description": "authentication failure"}
            return Answer(400, to_json(refusal))
        return Answer(
            200,
            to_json(
                {"access_token": token, "instance_url": self.server.url, "token_type": "Bearer", "id": self.server.url}
            ),
        )

    def _soap(self, body: str) -> Answer:
        login, password = (
            unescape(match[1]) if (match := re.search(rf"<(?:\w+:)?{tag}>(.*?)</", body, re.S)) else ""
            for tag in ("username", "password")
        )
        token = self.server.sessions.log_in_user(login, password)
        if token is None:
            return Answer(500, _SOAP_REFUSED, "text/xml;charset=UTF-8")
        url = escape(f"{self.server.url}/services/Soap/u/59.0/00D000000000001")
        return Answer(200, _SOAP_ACCEPTED.format(url=url, token=token), "text/xml;charset=UTF-8")

    def _data(self) -> Answer:
        parts = urlsplit(self.path)
        match = _DATA.fullmatch(parts.path)
        if match is None:
            return error_answer(404, "NOT_FOUND", "The requested resource does not exist")
        fault = self.server.faults.take()
        self._shift = int(fault is not None and fault.kind == "shift")
        if fault and fault.kind == "expire_token":
            self.server.sessions.expire_all()
        scheme, _, token = (self.headers.get("Authorization") or "").partition(" ")
        if scheme not in ("Bearer", "OAuth") or not self.server.sessions.is_valid(token):
            return error_answer(401, "INVALID_SESSION_ID", "Session expired or invalid")
        if fault and fault.kind in _INSTEAD:
            return _INSTEAD[fault.kind](fault, self.server)
        answer = self._resource(match["version"], match["rest"].rstrip("/"), parse_qs(parts.query))
        return _spoil(answer, fault, self.path) if fault else answer

    def _resource(self, version: str, rest: str, arguments: Mapping[str, Sequence[str]]) -> Answer:
        kind, _, tail = rest.partition("/")
        if kind in ("query", "queryAll") and tail:
            return self._page(version, tail)
        if kind in ("query", "queryAll"):
            return self._query(version, (arguments.get("q") or [""])[0], kind == "queryAll")
        if kind == "sobjects" and tail.endswith("/describe"):
            return self._describe(tail.removesuffix("/describe"))
        return error_answer(404, "NOT_FOUND", "The requested resource does not exist")

    def _query(self, version: str, text: str, with_deleted: bool) -> Answer:
        query = soql.parse(text)
        records, known = self.server.records.of(query.object_name)
        for name in sorted(query.fields):
            if records and name.partition(".")[0] not in known:
                message = f"No such column '{name}' on entity '{query.object_name}'."
                raise soql.SoqlError("INVALID_FIELD", message)
        living = records if with_deleted else [record for record in records if not record["IsDeleted"]]
        found = soql.rows(query, living)
        if not query.items:
            return Answer(200, to_json({"totalSize": len(found), "done": True, "records": []}))
        shown = [_shown(query, record, version) for record in found]
        return self._pages(version, shown, 0, None)

    def _page(self, version: str, tail: str) -> Answer:
        locator, _, start = tail.partition("-")
        found = self.server.sessions.cursor(locator)
        if found is None or not start.isdigit():
            return error_answer(400, "INVALID_QUERY_LOCATOR", "invalid query locator")
        return self._pages(version, found, int(start), locator)

    def _pages(self, version: str, found: list[Any], start: int, locator: str | None) -> Answer:
        end = start + self._page_size()
        answer: dict[str, Any] = {"totalSize": len(found), "done": end >= len(found)}
        if not answer["done"]:
            locator = locator or self.server.sessions.keep(found)
            answer["nextRecordsUrl"] = f"/services/data/v{version}/query/{locator}-{end}"
        answer["records"] = found[max(0, start - self._shift) : end - self._shift]
        return Answer(200, to_json(answer), headers={"Sforce-Limit-Info": "api-usage=1/100000"})

    def _page_size(self) -> int:
        match = re.search(r"batchSize=(\d+)", self.headers.get("Sforce-Query-Options") or "")
        wanted = int(match[1]) if match else _LARGEST_PAGE
        return max(self.server.smallest_page, min(wanted, _LARGEST_PAGE))

    def _describe(self, name: str) -> Answer:
        try:
            records, known = self.server.records.of(name)
        except soql.SoqlError:
            return error_answer(404, "NOT_FOUND", "The requested resource does not exist")
        fields = [{"name": column, "label": column, "type": _type(column, records)} for column in sorted(known)]
        return Answer(200, to_json({"name": name, "label": name, "queryable": True, "fields": fields}))

    def _send(self, answer: Answer) -> None:
        body = answer.body.encode()
        if answer.drip:
            self._drip(answer, body)
            return
        self.send_response(answer.status)
        self.send_header("Content-Type", answer.content_type)
        self.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body[: len(body) // 2] if answer.cut else body)
        self.close_connection = self.close_connection or answer.cut

    def _drip(self, answer: Answer, body: bytes) -> None:
        """The answer byte by byte, for as long as somebody listens."""
        self.close_connection = True
        head = f"HTTP/1.1 {answer.status} OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        pieces = [head] if answer.head_at_once else [bytes([byte]) for byte in head]
        for piece in (*pieces, *(bytes([byte]) for byte in body)):
            self.wfile.write(piece)
            self.wfile.flush()
            if self.server.ended.wait(answer.drip):
                return


def _shown(query: soql.Query, record: soql.Record, version: str) -> dict[str, Any]:
    """A record with its ``attributes`` and exactly the fields that were asked for."""
    if query.is_aggregate:
        return {"attributes": {"type": "AggregateResult"}, **record}
    shown: dict[str, Any] = {"attributes": _attributes(query.object_name, record.get("Id"), version)}
    for item in query.items:
        parent, _, child = item.field.partition(".")
        if not child:
            shown[parent] = record.get(parent)
        elif record.get(parent) is None:
            shown[parent] = None
        else:
            shown.setdefault(parent, {"attributes": {"type": parent}})[child] = soql.field_value(record, item.field)
    return shown


def _attributes(name: str, key: Any, version: str) -> dict[str, str]:
    return {"type": name, "url": f"/services/data/v{version}/sobjects/{name}/{key}"}


def _type(column: str, records: Sequence[Mapping[str, Any]]) -> str:
    value = next((record[column] for record in records if record.get(column) is not None), None)
    if column == "Id":
        return "id"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, int | Decimal):
        return "double"
    text = str(value or "")
    if re.fullmatch(r"\d{4}-\d\d-\d\d", text):
        return "date"
    return "datetime" if re.match(r"\d{4}-\d\d-\d\dT", text) else "string"


def _hang(fault: Fault, server: _HttpServer) -> Answer:
    server.ended.wait(fault.seconds)
    return Answer(503, "")


def _rate_limit(fault: Fault, _: _HttpServer) -> Answer:
    headers = {"Retry-After": fault.retry_after} if fault.retry_after else {}
    return error_answer(429, "TOO_MANY_REQUESTS", "Too many requests", **headers)


_PAGE = "<!DOCTYPE html><html><body><h1>We are down for maintenance</h1></body></html>"
_INSTEAD: dict[str, Callable[[Fault, Any], Answer]] = {
    "rate_limit": _rate_limit,
    "request_limit": lambda *_: error_answer(403, "REQUEST_LIMIT_EXCEEDED", "TotalRequests Limit exceeded."),
    "server_error": lambda *_: error_answer(500, "UNKNOWN_EXCEPTION", "An unexpected error occurred."),
    "html": lambda *_: Answer(200, _PAGE, "text/html"),
    "html_error": lambda *_: Answer(502, _PAGE, "text/html"),
    "error_body": lambda *_: error_answer(200, "QUERY_TIMEOUT", "Your query request was running for too long."),
    "redirect": lambda *_: Answer(302, "", headers={"Location": "http://127.0.0.1:9/elsewhere"}),
    "hang": _hang,
}


def _spoil(answer: Answer, fault: Fault, path: str) -> Answer:
    if answer.status != 200:
        return answer
    if fault.kind == "truncated":
        answer.cut = True
        return answer
    if fault.kind in ("drip", "drip_body"):
        answer.drip, answer.head_at_once = fault.seconds, fault.kind == "drip_body"
        return answer
    if fault.kind == "malformed":
        answer.body = answer.body[: len(answer.body) * 2 // 3]
        return answer
    content = json.loads(answer.body, parse_float=Decimal)
    if fault.kind == "short":
        content["records"] = content["records"][:-1]
    elif fault.kind == "empty_next":
        content.update(done=False, records=[], nextRecordsUrl="/services/data/v59.0/query/01gempty-1")
    elif fault.kind == "foreign_next":
        content.update(done=False, nextRecordsUrl="http://169.254.169.254/services/data/v59.0/query/x-1")
    elif fault.kind == "repeat_next":
        content.update(done=False, nextRecordsUrl=path)
    answer.body = to_json(content)
    return answer


_SOAP_ACCEPTED = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns="urn:partner.soap.sforce.com">'
    "<soapenv:Body><loginResponse><result><serverUrl>{url}</serverUrl><sessionId>{token}</sessionId></result>"
    "</loginResponse></soapenv:Body></soapenv:Envelope>"
)
_SOAP_REFUSED = (
    '<?xml version="1.0" encoding="UTF-8"?>'
    '<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" '
    'xmlns:sf="urn:fault.partner.soap.sforce.com"><soapenv:Body><soapenv:Fault><faultcode>INVALID_LOGIN</faultcode>'
    "<detail><sf:LoginFault><sf:exceptionCode>INVALID_LOGIN</sf:exceptionCode>"
    "<sf:exceptionMessage>Invalid username, password, security token; or user locked out.</sf:exceptionMessage>"
    "</sf:LoginFault></detail></soapenv:Fault></soapenv:Body></soapenv:Envelope>"
)


class _HttpServer(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def __init__(self, address: tuple[str, int], records: Records, sessions: Sessions, smallest_page: int) -> None:
        super().__init__(address, _Handler)
        self.records = records
        self.sessions = sessions
        self.smallest_page = smallest_page
        self.faults = Faults()
        self.ended = threading.Event()
        self.url = f"http://{address[0]}:{self.server_address[1]}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up is no news; everything else is."""
        if not isinstance(sys.exc_info()[1], ConnectionError | ssl.SSLError):
            super().handle_error(request, client_address)


class CrmServer:
    """A running server; ``close()`` ends it. ``faults`` breaks answers, ``expire_tokens()`` ends all sessions."""

    def __init__(self, http: _HttpServer, thread: threading.Thread) -> None:
        self._http = http
        self._thread = thread
        self.url = http.url
        self.faults = http.faults
        self.port = int(http.server_address[1])

    @property
    def logins(self) -> int:
        """How many tokens were given out."""
        return self._http.sessions.logins

    def expire_tokens(self) -> None:
        """Make every token given out so far invalid."""
        self._http.sessions.expire_all()

    def close(self) -> None:
        """Stop listening and wait until the accepting thread has ended."""
        self._http.ended.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join(timeout=10)

    def __enter__(self) -> CrmServer:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def serve(
    directory: Path,
    credentials: Credentials,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    smallest_page: int = 200,
    token_seconds: float = 7_200,
    certificate: Path | None = None,
    private_key: Path | None = None,
) -> CrmServer:
    """Start the server in a thread and return it; ``port`` 0 takes a free one, a ``certificate`` turns TLS on.

    Raises:
        ServerFailed: the folder does not exist, the address is not loopback, or the port is taken.
    """
    check_loopback(host)
    if not directory.is_dir():
        raise ServerFailed(f"There is no folder {directory}.")
    try:
        http = _HttpServer((host, port), Records(directory), Sessions(credentials, token_seconds), smallest_page)
    except OSError as error:
        raise ServerFailed(f"Port {port} on {host} cannot be used: {error.strerror}.") from None
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, private_key)
        http.socket = context.wrap_socket(http.socket, server_side=True, do_handshake_on_connect=False)
        http.url = http.url.replace("http:", "https:", 1)
    thread = threading.Thread(target=http.serve_forever, args=(0.05,), name="crm-server", daemon=True)
    thread.start()
    return CrmServer(http, thread)


def main(arguments: list[str] | None = None) -> int:
    """Serve until SIGTERM or SIGINT; returns the exit code (0 ended, 1 could not start, 2 wrong use)."""
    parser = argparse.ArgumentParser(prog="crm_server", description="Serve CRM records over HTTP on loopback.")
    parser.add_argument("--directory", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--port-file", type=Path, required=True, help="the port is written here once it listens")
    options = parser.parse_args(arguments)
    names = ("LOGIN", "PASSWORD", "CLIENT_ID", "CLIENT_SECRET", "SECURITY_TOKEN")
    given = {name.lower(): os.environ.get(f"O2C_DEMO_CRM_{name}", "") for name in names}
    if missing := [name for name in names[:4] if not given[name.lower()]]:
        print(f"Set {', '.join(f'O2C_DEMO_CRM_{name}' for name in missing)}.", file=sys.stderr)
        return 2
    ended = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: ended.set())
    try:
        server = serve(options.directory, Credentials(**given), port=options.port)
    except ServerFailed as error:
        print(error, file=sys.stderr)
        return 1
    with server:
        write_port(options.port_file, server.port)
        ended.wait()
    return 0


if __name__ == "__main__":
    sys.exit(main())
