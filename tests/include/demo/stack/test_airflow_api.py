from __future__ import annotations

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from demo.stack.airflow_api import AirflowApi
from demo.stack.errors import StackFailed

Handler = Callable[[httpx.Request], httpx.Response]


def client(handler: Handler) -> AirflowApi:
    api = AirflowApi("http://127.0.0.1:1", "admin", "secret")
    api._client = httpx.Client(base_url="http://127.0.0.1:1", transport=httpx.MockTransport(handler))
    return api


class Server:
    """Hands out tokens that are good for ``uses`` requests, and pages of DAGs."""

    def __init__(self, dags: int = 0, uses: int = 1_000) -> None:
        self.dags, self.uses, self.logins, self.seen = dags, uses, 0, []
        self.left = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append((request.method, request.url.path, request.content.decode()))
        if request.url.path == "/auth/token":
            self.logins, self.left = self.logins + 1, self.uses
            return httpx.Response(201, json={"access_token": f"t{self.logins}"})
        if self.left == 0 or request.headers["Authorization"] != f"Bearer t{self.logins}":
            return httpx.Response(401)
        self.left -= 1
        offset, limit = int(request.url.params.get("offset", 0)), int(request.url.params.get("limit", 100))
        names = [{"dag_id": f"d{number}"} for number in range(self.dags)][offset : offset + limit]
        return httpx.Response(200, json={"dags": names})


def test_all_pages_are_read_with_one_login() -> None:
    server = Server(dags=230)
    found = client(server).dags()
    assert [dag["dag_id"] for dag in found] == [f"d{number}" for number in range(230)]
    assert server.logins == 1


def test_an_expired_token_is_renewed() -> None:
    server = Server(dags=230, uses=1)
    assert len(client(server).dags()) == 230
    assert server.logins == 3


def test_unpausing() -> None:
    server = Server()
    client(server).unpause("sync_erp")
    assert server.seen[-1] == ("PATCH", "/api/v2/dags/sync_erp", '{"is_paused":false}')


def test_health_is_empty_while_nobody_answers() -> None:
    def refuse(_request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert client(refuse).health() == {}
    assert client(lambda _request: httpx.Response(503)).health() == {}
    assert client(lambda _request: httpx.Response(200, json={"scheduler": {}})).health() == {"scheduler": {}}


@pytest.mark.parametrize(
    ("answer", "what"),
    [
        (httpx.Response(401), "refused the login of 'admin'"),
        (httpx.Response(201, json={"access_token": "t"}), "refused with 500"),
    ],
)
def test_a_refusal_is_told_without_the_password(answer: httpx.Response, what: str) -> None:
    def handler(request: httpx.Request) -> httpx.Response:
        return answer if request.url.path == "/auth/token" else httpx.Response(500, text="broken")

    with pytest.raises(StackFailed, match=what) as failure:
        client(handler).runs()
    assert "secret" not in str(failure.value)


def test_a_server_that_is_gone_is_told() -> None:
    def gone(_request: httpx.Request) -> Any:
        raise httpx.ReadTimeout("late")

    with pytest.raises(StackFailed, match="does not answer: ReadTimeout"):
        client(gone).dags()


def test_loopback_is_not_sent_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example:3128")
    api = AirflowApi("http://127.0.0.1:1", "admin", "secret")
    assert api._client._mounts == {}
    api.close()
