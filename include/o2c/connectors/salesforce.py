"""Reads one Salesforce object over the REST query protocol: one part, each page's body as it arrived, one per line.

``source`` keys: ``object``, ``fields`` (source columns), ``cursor`` (``[SystemModstamp, Id]``), ``overlap``.
Connection: host, port, login, password; extras ``client_id``, ``client_secret``, ``security_token``, ``scheme``
(``https``; ``http`` for loopback only), ``ca_bundle``, ``api_version``, ``page_size``, and the limits ``attempts``,
``backoff``, ``deadline``, ``timeout`` (seconds). Without a login the app itself logs in (client credentials).
Deleted records are read when ``IsDeleted`` is among the fields, so that they can never pass as living ones.
"""

from __future__ import annotations

import ipaddress
import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from email.utils import parsedate_to_datetime
from typing import Any, NoReturn
from urllib.parse import urljoin, urlsplit

import requests

from o2c.connections import Connection
from o2c.connectors.base import ControlTotals, ExtractRequest, Part, for_keys
from o2c.connectors.deadline import Deadline
from o2c.connectors.http_adapter import watched_adapter
from o2c.contracts.flow import duration
from o2c.errors import FatalSourceError, SourceError, UsageError

_FIELD = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}(?:\.[A-Za-z][A-Za-z0-9_]{0,79}){0,4}")
_OBJECT = re.compile(r"[A-Za-z][A-Za-z0-9_]{0,79}")
_VERSION = re.compile(r"\d{2,3}\.\d")
_TRY_AGAIN = {408, 429, 500, 502, 503, 504}
_LARGEST_PAGE_BYTES = 64 * 1024 * 1024
_LONGEST_BACKOFF = 60.0
_DATA_PATH = "/services/data/v{version}"


@dataclass(frozen=True)
class Limits:
    """How hard to try: attempts per request, first wait (doubled each time), deadline of the whole extract and
    timeout of one answer, all in seconds.
    """

    attempts: int = 5
    backoff: float = 1.0
    deadline: float = 900.0
    timeout: float = 60.0

    @classmethod
    def of(cls, connection: Connection, where: str) -> Limits:
        """Take over what the connection's extra states; raises :class:`UsageError` for anything but numbers."""
        extra = connection.extra
        try:
            return cls(
                attempts=max(1, int(extra.get("attempts", cls.attempts))),
                backoff=float(extra.get("backoff", cls.backoff)),
                deadline=float(extra.get("deadline", cls.deadline)),
                timeout=float(extra.get("timeout", cls.timeout)),
            )
        except (TypeError, ValueError):
            raise UsageError(
                "A limit of the connection is no number.",
                where=where,
                next_step="Write attempts, backoff, deadline and timeout as numbers (seconds).",
            ) from None


@dataclass(frozen=True)
class Page:
    """One answer to a query: the bytes as they arrived and what they say."""

    body: bytes
    records: list[dict[str, Any]]
    total: int
    next_path: str | None


def extract(
    request: ExtractRequest,
    *,
    sleep: Callable[[float], None] = time.sleep,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[Part]:
    """Yield the one part of the window: the object's pages, ordered by the cursor columns.

    The control totals come from a second, aggregating query over the same window: rows, and sums per currency code
    in major units where ``request.amount`` and ``request.currency`` are given.

    Raises:
        UsageError: the flow or the connection cannot be used as written.
        FatalSourceError: ``unauthorized``, ``schema_drift``, ``malformed_query``, ``foreign_link``.
        SourceError: no usable answer within the attempts and the deadline, or pages that do not add up.
    """
    connection = request.connection
    if connection is None:
        raise UsageError(
            "The flow names no connection.", where=f"flow {request.flow}", next_step="Add source.connection."
        )
    where = f"flow {request.flow}, connection {connection.conn_id}"
    query = _Query.of(request, where)
    limits = Limits.of(connection, where)
    with Deadline(limits.deadline) as deadline, requests.Session() as session:
        # A proxy or a .netrc of this machine must neither see nor replace the token.
        session.trust_env = False
        for scheme in ("http://", "https://"):
            session.mount(scheme, watched_adapter(deadline))
        client = _Client(connection, limits, where, session, sleep, clock)
        window = _Window(client, query)
        yield Part(
            name=f"{query.object_name}.pages.jsonl",
            blocks=window.blocks(),
            origin={"endpoint": client.base_url, "api_version": client.version, "query": query.text},
            control=window.control,
        )


def list_keys(request: ExtractRequest, columns: Sequence[str]) -> Iterator[Part]:
    """Yield one part like :func:`extract`: ``columns`` of every record that is not deleted, with the server's count."""
    return extract(for_keys(request, columns))


@dataclass(frozen=True)
class _Query:
    """The texts to ask; every identifier in them has passed the allow-list."""

    object_name: str
    fields: tuple[str, ...]
    cursor: tuple[str, ...]
    since: str | None
    amount: str | None
    currency: str | None
    before: str | None = None

    @classmethod
    def of(cls, request: ExtractRequest, where: str) -> _Query:
        source = request.source
        cursor = tuple(map(str, source.get("cursor") or ()))
        fields = tuple(dict.fromkeys([*map(str, source.get("fields") or ()), *cursor]))
        if not fields:
            raise UsageError("The flow reads no column.", where=where, next_step="Map at least one source column.")
        for name in (*fields, *filter(None, (request.amount, request.currency))):
            _identifier(name, _FIELD, where)
        object_name = _identifier(str(source.get("object") or ""), _OBJECT, where)
        since = _since(request.cursor, str(source.get("overlap") or "0s"), where) if cursor else None
        before = _instant(datetime.fromisoformat(request.until)) if request.until else None
        amount = request.amount if request.currency else None
        return cls(object_name, fields, cursor, since, amount, request.currency if amount else None, before)

    @property
    def text(self) -> str:
        """The query for the records."""
        order = f" ORDER BY {', '.join(f'{name} ASC' for name in self.cursor)}" if self.cursor else ""
        # Identifiers have passed the allow-list, values are written by _instant: nothing foreign gets in here.
        return f"SELECT {', '.join(self.fields)} FROM {self.object_name}{self._where(None)}{order}"  # noqa: S608

    @property
    def with_deleted(self) -> bool:
        """True when the flow reads the flag that marks deleted records."""
        return "IsDeleted" in self.fields

    def control_text(self, until: str | None) -> str:
        """The query for the control totals of the window that ends with ``until``, the last record's cursor."""
        groups = f" GROUP BY {self.currency}" if self.currency else ""
        sums = f", {self.currency}, SUM({self.amount}) amount_sum" if self.currency else ""
        return f"SELECT COUNT(Id) row_count{sums} FROM {self.object_name}{self._where(until)}{groups}"  # noqa: S608

    def _where(self, until: str | None) -> str:
        bounds = [(">=", self.since), ("<=", until), ("<", self.before)]
        conditions = [f"{self.cursor[0]} {sign} {value}" for sign, value in bounds if value]
        return f" WHERE {' AND '.join(conditions)}" if conditions else ""


def _identifier(name: str, allowed: re.Pattern[str], where: str) -> str:
    if allowed.fullmatch(name):
        return name
    raise UsageError(
        f"{name[:100]!r} is no name of a Salesforce object or field.",
        where=where,
        next_step="Use the API name: letters, digits and underscores, dots between parent and field.",
    )


def _since(cursor: tuple[str, ...] | None, overlap: str, where: str) -> str | None:
    if not cursor:
        return None
    try:
        return _instant(datetime.fromisoformat(cursor[0]), duration(overlap))
    except ValueError:
        raise UsageError(
            f"The cursor '{cursor[0]}' or the overlap '{overlap}' cannot be read.",
            where=where,
            next_step="The first cursor column must be an instant such as SystemModstamp, the overlap like 20m.",
        ) from None


def _instant(value: datetime, overlap: timedelta = timedelta()) -> str:
    """An instant as the query language writes it: UTC, milliseconds cut off."""
    aware = value if value.tzinfo else value.replace(tzinfo=UTC)
    return (aware.astimezone(UTC) - overlap).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"


class _Window:
    """The pages of one query, checked against what the server said of them."""

    def __init__(self, client: _Client, query: _Query) -> None:
        self._client = client
        self._query = query
        self._until: str | None = None

    def blocks(self) -> Iterator[bytes]:
        """Yield each page's body and a line feed."""
        client, query = self._client, self._query
        path: str | None = None
        received, seen = 0, set()
        before: set[Any] = set()
        while True:
            page = client.query(query.text, query.with_deleted) if path is None else client.page(path)
            received += len(page.records)
            ids = {record["Id"] for record in page.records if record.get("Id")}
            if ids & before:
                raise client.failed(
                    "A page begins with records of the page before: the pages shift while they are read."
                )
            before = ids
            yield page.body + b"\n"
            if page.records and query.cursor:
                self._remember(page.records[-1].get(query.cursor[0]))
            path = page.next_path
            if path is None:
                break
            if path in seen or not page.records:
                raise client.failed("The server's next links lead in a circle or to nothing.")
            seen.add(path)
        if received != page.total:
            raise client.failed(f"The server promised {page.total:,} records and sent {received:,}.")

    def _remember(self, value: Any) -> None:
        try:
            self._until = _instant(datetime.fromisoformat(str(value)))
        except ValueError:
            self._until = None

    def control(self) -> ControlTotals:
        """Ask the server how much it holds up to the last record that was read."""
        # Records changed meanwhile lie behind that record and belong to the next window.
        text = self._query.control_text(self._until)
        records = self._client.query(text, self._query.with_deleted).records
        rows = sum(int(record.get("row_count") or 0) for record in records)
        if self._query.currency is None:
            return ControlTotals(rows)
        sums = {
            str(record.get(self._query.currency) or ""): Decimal(str(record["amount_sum"]))
            for record in records
            if record.get("amount_sum") is not None
        }
        return ControlTotals(rows, sums)


class _Client:
    """One logged-in session: asks, waits, tries again within its limits, and never leaves its own host."""

    def __init__(
        self,
        connection: Connection,
        limits: Limits,
        where: str,
        session: requests.Session,
        sleep: Callable[[float], None],
        clock: Callable[[], float],
    ) -> None:
        self.base_url = _base_url(connection, where)
        self.version = str(connection.extra.get("api_version", "59.0"))
        if not _VERSION.fullmatch(self.version):
            raise UsageError(f"'{self.version}' is no API version.", where=where, next_step="Write it like 59.0.")
        self._where = f"{where}, {self.base_url}"
        self._connection = connection
        self._limits = limits
        self._session = session
        self._sleep = sleep
        self._clock = clock
        self._ends_at = clock() + limits.deadline
        self._token = ""
        session.verify = connection.extra.get("ca_bundle", True)

    def query(self, text: str, with_deleted: bool) -> Page:
        """The first page of a query."""
        kind = "queryAll" if with_deleted else "query"
        return self._page(f"{_DATA_PATH.format(version=self.version)}/{kind}", {"q": text})

    def page(self, link: str) -> Page:
        """A later page."""
        return self._page(link, None)

    def failed(self, what: str) -> SourceError:
        """An error that trying again may cure."""
        return SourceError(what, where=self._where, next_step="Nothing was loaded; run the flow again.")

    def _page(self, link: str, parameters: Mapping[str, str] | None) -> Page:
        url = self._own(link)
        renewed = not self._token
        if renewed:
            self._log_in()
        while True:
            status, body = self._ask("GET", url, params=parameters, headers=self._headers(), parse=_page)
            if status == 401 and not renewed:
                renewed = True
                self._log_in()
                continue
            if isinstance(body, Page):
                return body
            self._refuse(status, body)

    def _headers(self) -> dict[str, str]:
        size = self._connection.extra.get("page_size", 2_000)
        return {
            "Authorization": f"Bearer {self._token}",
            "Accept": "application/json",
            "Sforce-Query-Options": f"batchSize={int(size)}",
        }

    def _own(self, link: str) -> str:
        """The full address of a link, which must lie on the server we log in to."""
        url = urljoin(self.base_url + "/", link)
        if _origin(url) == _origin(self.base_url):
            return url
        raise FatalSourceError(
            "The server sent a next link that leads to another host.",
            reason="foreign_link",
            where=f"{self._where}: {url[:200]}",
            next_step="Check that the connection's host is the organisation's own address.",
        )

    def _log_in(self) -> None:
        url = self.base_url + "/services/oauth2/token"
        status, body = self._ask(
            "POST", url, data=self._login_form(), headers={"Accept": "application/json"}, parse=_json
        )
        token = body.get("access_token") if isinstance(body, dict) else None
        if status == 200 and token:
            self._check_instance(str(body.get("instance_url") or self.base_url))
            self._token = str(token)
            return
        detail = str(body.get("error_description") or body.get("error") or "") if isinstance(body, dict) else ""
        raise self._unauthorized(f"The CRM refused the login ({status}{': ' + detail[:200] if detail else ''}).")

    def _login_form(self) -> dict[str, str]:
        extra, connection = self._connection.extra, self._connection
        form = {"client_id": str(extra.get("client_id") or ""), "client_secret": str(extra.get("client_secret") or "")}
        if not all(form.values()):
            raise UsageError(
                "The connection names no app.",
                where=self._where,
                next_step="Set client_id and client_secret in the connection's extra.",
            )
        if not connection.login:
            return {**form, "grant_type": "client_credentials"}
        password = connection.password + str(extra.get("security_token") or "")
        return {**form, "grant_type": "password", "username": connection.login, "password": password}

    def _check_instance(self, instance_url: str) -> None:
        """Salesforce's shared login host hands over to the organisation's own one; no other move is followed."""
        if _origin(instance_url) == _origin(self.base_url):
            return
        host = urlsplit(instance_url).hostname or ""
        from_salesforce = self._connection.host.endswith(".salesforce.com") and host.endswith(".salesforce.com")
        if not (from_salesforce and urlsplit(instance_url).scheme == "https"):
            raise FatalSourceError(
                "The login leads to another host.",
                reason="foreign_link",
                where=f"{self._where}: {instance_url[:200]}",
                next_step="Set the connection's host to the organisation's own address.",
            )
        self.base_url = instance_url.rstrip("/")

    def _ask(self, method: str, url: str, *, parse: Callable[[bytes], Any], **options: Any) -> tuple[int, Any]:
        """Status and content of the first usable answer.

        A usable answer is a success that can be read, or a refusal that trying again would not change.
        """
        problem = ""
        for attempt in range(self._limits.attempts):
            wait = self._limits.backoff * 2**attempt
            try:
                with self._send(method, url, options) as response:
                    body = self._body(response)
                    status, headers = response.status_code, response.headers
            except requests.exceptions.SSLError:
                raise self._untrusted() from None
            except (requests.RequestException, OSError) as error:
                problem = f"no whole answer ({type(error).__name__})"
            else:
                if 200 <= status < 300:
                    content = parse(body)
                    if content is not None:
                        return status, content
                    problem = f"an answer that is not the expected JSON: {_excerpt(body)}"
                elif status in _TRY_AGAIN:
                    problem, wait = f"status {status}", _retry_after(headers, wait)
                elif 300 <= status < 400:
                    raise self._redirected(headers.get("Location", ""))
                else:
                    return status, _json(body)
            if self._clock() > self._ends_at:
                raise self._too_late(problem)
            self._wait(wait, problem, is_last=attempt + 1 == self._limits.attempts)
        raise AssertionError("the last wait raises")

    def _send(self, method: str, url: str, options: Mapping[str, Any]) -> requests.Response:
        timeout = min(self._limits.timeout, max(0.01, self._ends_at - self._clock()))
        return self._session.request(method, url, timeout=timeout, stream=True, allow_redirects=False, **options)

    def _body(self, response: requests.Response) -> bytes:
        """The whole body, within the deadline even if it drips, and within a bound even if it unpacks to gigabytes."""
        parts, size = [], 0
        for part in response.iter_content(64 * 1024):
            size += len(part)
            if size > _LARGEST_PAGE_BYTES:
                raise self.failed(f"One answer is larger than {_LARGEST_PAGE_BYTES:,} bytes.")
            if self._clock() > self._ends_at:
                raise self._too_late("an answer that dripped")
            parts.append(part)
        return b"".join(parts)

    def _wait(self, wait: float, problem: str, *, is_last: bool) -> None:
        if is_last:
            raise self.failed(
                f"The CRM gave no usable answer in {self._limits.attempts} attempts; the last: {problem}."
            )
        if self._clock() + wait > self._ends_at:
            raise self._too_late(f"{problem}; it asks to wait {wait:.0f} s")
        self._sleep(wait)

    def _too_late(self, problem: str) -> SourceError:
        return self.failed(f"The CRM did not deliver within {self._limits.deadline:g} s; the last: {problem}.")

    def _redirected(self, location: str) -> FatalSourceError:
        return FatalSourceError(
            "The CRM redirects to another address.",
            reason="foreign_link",
            where=f"{self._where}: {location[:200]}",
            next_step="Set the connection's host to the organisation's own address.",
        )

    def _untrusted(self) -> FatalSourceError:
        return FatalSourceError(
            "The CRM offers no trusted TLS connection.",
            reason="untrusted_certificate",
            where=self._where,
            next_step="Check host and port, or name the issuer's certificate in the connection's extra 'ca_bundle'.",
        )

    def _unauthorized(self, what: str) -> FatalSourceError:
        return FatalSourceError(
            what,
            reason="unauthorized",
            where=self._where,
            next_step="Correct login, password, client_id, client_secret and security_token of the connection.",
        )

    def _refuse(self, status: int, body: Any) -> NoReturn:
        first = body[0] if isinstance(body, list) and body and isinstance(body[0], dict) else {}
        code, message = str(first.get("errorCode") or f"status {status}"), str(first.get("message") or "")[:300]
        text = f"The CRM refused the query ({code}): {message or 'no reason given'}."
        if code in ("REQUEST_LIMIT_EXCEEDED", "INVALID_QUERY_LOCATOR", "QUERY_TIMEOUT"):
            raise self.failed(text)
        if status in (401, 403):
            raise self._unauthorized(text)
        drifted = status == 404 or code in ("INVALID_FIELD", "INVALID_TYPE")
        raise FatalSourceError(
            text,
            reason="schema_drift" if drifted else "malformed_query",
            where=self._where,
            next_step="Compare the flow's object, mapping and cursor with the CRM's fields.",
        )


def _base_url(connection: Connection, where: str) -> str:
    scheme, host = str(connection.extra.get("scheme", "https")), connection.host
    if scheme not in ("http", "https") or not host or not re.fullmatch(r"[A-Za-z0-9.:-]+", host):
        raise UsageError(
            "The connection's address cannot be used.", where=where, next_step="Set host, port and scheme."
        )
    if scheme == "http" and not _is_loopback(host):
        raise UsageError(
            f"The connection sends its password to {host} in the clear.",
            where=where,
            next_step="Set scheme to https; http is for this machine only.",
        )
    host = f"[{host}]" if ":" in host else host
    return f"{scheme}://{host}:{connection.port}" if connection.port else f"{scheme}://{host}"


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        return "", None, None
    return parts.scheme, parts.hostname, port or {"http": 80, "https": 443}.get(parts.scheme)


def _json(body: bytes) -> Any:
    """The content with exact numbers, or None when it is no JSON."""
    try:
        return json.loads(body, parse_float=Decimal)
    except ValueError:
        return None


def _page(body: bytes) -> Page | None:
    """A query's answer, or None when the body is anything else."""
    content = _json(body)
    if not isinstance(content, dict) or not isinstance(content.get("records"), list):
        return None
    records, total, link = content["records"], content.get("totalSize"), content.get("nextRecordsUrl")
    if not all(isinstance(record, dict) for record in records) or not isinstance(total, int):
        return None
    if bool(content.get("done")) is bool(link):
        return None
    # Line breaks between JSON tokens carry no meaning; one page must stay one line.
    return Page(body.strip().replace(b"\r", b" ").replace(b"\n", b" "), records, total, link)


def _retry_after(headers: Mapping[str, str], otherwise: float) -> float:
    """Seconds the server asks to wait, stated as a number or as an instant on its own clock."""
    text = headers.get("Retry-After", "").strip()
    if text.isdigit():
        return float(text)
    try:
        asked, now = parsedate_to_datetime(text), parsedate_to_datetime(headers.get("Date", ""))
    except (TypeError, ValueError):
        return min(otherwise, _LONGEST_BACKOFF)
    return max(0.0, (asked - now).total_seconds())


def _excerpt(body: bytes) -> str:
    return repr(body[:80].decode(errors="replace"))
