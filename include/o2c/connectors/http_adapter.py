"""HTTP connections whose sockets a deadline can shut down, whatever they are waiting for."""

from __future__ import annotations

import socket
from typing import Any

from requests.adapters import HTTPAdapter
from urllib3.connectionpool import HTTPConnectionPool

from o2c.connectors.deadline import Deadline


def watched_adapter(deadline: Deadline) -> HTTPAdapter:
    """An adapter for :mod:`requests` that has ``deadline`` watch every connection it opens."""
    adapter = HTTPAdapter()
    manager = adapter.poolmanager
    manager.pool_classes_by_scheme = {
        scheme: _watched(pool, deadline) for scheme, pool in manager.pool_classes_by_scheme.items()
    }
    return adapter


def _watched(pool: type[HTTPConnectionPool], deadline: Deadline) -> Any:
    plain: Any = pool.ConnectionCls

    def new_connection(self: Any) -> socket.socket:
        opened: socket.socket = plain._new_conn(self)
        deadline.watch(opened.fileno())
        return opened

    connection = type("WatchedConnection", (plain,), {"_new_conn": new_connection})
    return type("WatchedPool", (pool,), {"ConnectionCls": connection})
