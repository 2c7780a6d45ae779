"""Kinds 4, 5, 6, 8: what the network and the CRM do to a load."""

from __future__ import annotations

import json
from random import Random

from chaos.laboratory import Laboratory
from chaos.oracle import Violation
from chaos.proxy import Proxy
from chaos.registry import Result, delivered, judge, kind
from chaos.tasks import Run, run_dag, run_until_clean
from chaos.world import CRM, SFTP, World
from demo.counterparts import crm_server

# Text that only the connection of one step sends: which COMMIT is meant.
MARKERS = {
    "open": b"insert into ops.load (",
    "stage": b"create view",
    "gate": b"insert into ops.gate_result",
    "publish": b"insert into ops.load_ledger",
}


@kind(4, "the connection is cut around COMMIT", weight=12)
def commit_cut(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random) as (world, group, variant), Proxy(laboratory.cluster.port) as proxy:
        world.warehouse_port = proxy.port
        step = random.choice(("open", "stage", "gate", "publish", "publish", "publish"))
        how = random.choice(("cut_commit", "cut_commit", "lose_commit"))
        rule = proxy.arm(how, marker=MARKERS[step])
        result = Result(fault=f"{how} of {step}")
        runs = run_until_clean(world, group)
        result.injected = rule.acted
        if step == "publish" and how == "cut_commit":
            tries = [outcome.status for outcome in runs[0].outcomes["publish"]]
            result.expect(tries == ["ok"] and len(runs) == 1, f"a lost acknowledgement failed the task: {tries}")
            result.expect(runs[0].announced, "a lost acknowledgement lost the asset event")
        return judge(laboratory, world, group, variant, result)


@kind(4, "the connection to the warehouse is cut, frozen or refused anywhere", weight=6)
def warehouse_cut(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random) as (world, group, variant), Proxy(laboratory.cluster.port) as proxy:
        world.warehouse_port = proxy.port
        how = random.choice(("cut", "cut", "refuse", "delay"))
        side = random.choice(("client", "server"))
        after = int(10 ** random.uniform(0, 4.3))
        rule = proxy.arm(how, after=after, side=side, seconds=0.05, times=random.choice((1, 2, 3)))
        result = Result(fault=f"{how} after {after} bytes of the {side}, {rule.times} times")
        run_until_clean(world, group)
        result.injected = rule.acted
        return judge(laboratory, world, group, variant, result)


@kind(5, "the ERP's database is cut off while it is read", weight=4)
def erp_cut(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "erp") as (world, group, variant), Proxy(laboratory.cluster.port) as proxy:
        world.erp_port = proxy.port
        after = int(10 ** random.uniform(0, 3.9))
        how = random.choice(("cut", "cut", "refuse"))
        rule = proxy.arm(how, after=after, times=random.choice((1, 2)))
        result = Result(fault=f"ERP: {how} after {after} bytes")
        run_until_clean(world, group)
        result.injected = rule.acted
        return judge(laboratory, world, group, variant, result)


# --- the CRM ---------------------------------------------------------------------------------------------------------

_PASSING = ("rate_limit", "server_error", "html_error", "html", "truncated", "malformed", "error_body", "hang")


@kind(5, "the CRM answers 429, 500, 502, HTML, or not at all", weight=10)
def crm_trouble(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "crm") as (world, group, variant):
        fault = random.choice(("rate_limit", "rate_limit", "server_error", "html_error", "hang", "request_limit"))
        times = random.choice((1, 2, 3, 8))
        if fault == "hang":
            times = min(times, 3)
        retry_after = random.choice((None, "0", "1", "3600")) if fault == "rate_limit" else None
        world.crm.faults.add(fault, times=times, after=random.randint(0, 4), retry_after=retry_after, seconds=2.0)
        result = Result(times, f"{fault} {times} times, Retry-After {retry_after}")
        before = _cursor(world, "crm/opportunities")
        first = run_dag(world, group, world.next_run_id())
        if not first.is_success:
            result.expect(_cursor(world, "crm/opportunities") == before, "a failed load has moved the cursor")
        _forget(world)
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


def _cursor(world: World, flow: str) -> object:
    return world.rows("select cursor_values from ops.watermark where flow = %s", flow)


def _forget(world: World) -> None:
    """The trouble at the CRM is over."""
    while world.crm.faults._queue:
        world.crm.faults.take()


@kind(5, "the CRM's answer drips or stops", weight=3)
def crm_drip(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "crm") as (world, group, variant), Proxy(world.crm.port) as proxy:
        world.crm_port = proxy.port
        world.crm._http.url = f"http://127.0.0.1:{proxy.port}"
        world.crm_extra = {"deadline": 1.5, "attempts": 2}
        how = random.choice(("drip", "freeze", "cut", "refuse"))
        rule = proxy.arm(how, after=random.choice((1, 40, 400)), seconds=0.3, times=random.choice((1, 2)))
        result = Result(fault=f"CRM: {how} after {rule.after} bytes")
        first = run_dag(world, group, world.next_run_id())
        result.injected = rule.acted
        proxy.disarm()
        if not first.is_success:
            run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


@kind(6, "the CRM's pages lie", weight=10)
def crm_lies(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "crm") as (world, group, variant):
        fault = random.choice(
            ("malformed", "truncated", "error_body", "html", "repeat_next", "empty_next", "short", "foreign_next",
             "redirect", "shifted", "dropped_cursor")
        )  # fmt: skip
        result = Result(1, fault)
        before = _cursor(world, "crm/opportunities")
        if fault in ("shifted", "dropped_cursor"):
            _spoil_pages(world, fault)
        else:
            # Often enough that no attempt of the first run gets past it.
            times = random.choice((1, 1, 40))
            world.crm.faults.add(fault, times=times, after=random.randint(0, 3))
        first = run_dag(world, group, world.next_run_id())
        if not first.is_success:
            result.expect(_cursor(world, "crm/opportunities") == before, "a failed load has moved the cursor")
        result.violations += _half_a_load(world)
        _forget(world)
        if fault in ("shifted", "dropped_cursor"):
            del world.crm._http.sessions.cursor  # type: ignore[method-assign]
        run_until_clean(world, group)
        return judge(laboratory, world, group, variant, result)


def _spoil_pages(world: World, fault: str) -> None:
    sessions = world.crm._http.sessions
    real = type(sessions).cursor

    def shifted(locator: str) -> list[object] | None:
        # A record at the front was deleted between two pages: every later one moves up, one is skipped.
        found = real(sessions, locator)
        return found[1:] if found and fault == "shifted" else None

    sessions.cursor = shifted  # type: ignore[method-assign]


def _half_a_load(world: World) -> list[Violation]:
    from chaos import oracle

    return oracle.balance(world, all_arrived=False)


# --- tokens and secrets ----------------------------------------------------------------------------------------------


@kind(8, "the token ends in the middle, or the secret was rotated", weight=8)
def secrets(laboratory: Laboratory, random: Random) -> Result:
    with delivered(laboratory, random, "crm") as (world, group, variant):
        how = random.choice(("expire", "expire", "rotate"))
        result = Result(1, how)
        printed = []
        if how == "expire":
            times = random.choice((1, 2))
            for _ in range(times):
                world.crm.faults.add("expire_token", after=random.randint(0, 3))
            result.injected = times
        else:
            rotated = crm_server.Credentials(CRM.login, "new-canary-password", CRM.client_id, CRM.client_secret)
            world.crm._http.sessions._credentials = rotated
            first = run_dag(world, group, world.next_run_id())
            printed += _said(first)
            result.expect(not first.is_success, "a rotated secret went unnoticed")
            tries = len(first.outcomes["extract crm/opportunities"])
            result.expect(tries == 1, f"a refused login was tried {tries} times")
            world.crm._http.sessions._credentials = CRM
        for run in run_until_clean(world, group):
            printed += _said(run)
        result.violations += leaks(world, printed)
        return judge(laboratory, world, group, variant, result)


def _said(run: Run) -> list[str]:
    return [outcome.text for tries in run.outcomes.values() for outcome in tries]


def leaks(world: World, printed: list[str]) -> list[Violation]:
    """Planted secrets, looked for in everything that is kept or printed."""
    planted = (CRM.password, CRM.client_secret, CRM.security_token, SFTP.password, "new-canary-password")
    password = world.url.split("@")[0].rsplit(":", 1)[1]
    kept = world.rows(
        "select coalesce(error, '') || coalesce(manifest::text, '') from ops.load"
        " union all select body from ops.evidence union all select payload::text from quarantine.record"
    )
    texts = [*printed, *(row[0] for row in kept)]
    texts += [path.read_text(errors="replace") for path in world.home.rglob("*") if path.is_file()]
    texts += [path.read_text(errors="replace") for path in (laboratory_tasks(world)).glob("*.out")]
    found = {secret for secret in (*planted, password) for text in texts if secret in text}
    return [Violation("other", f"a secret was written down: {json.dumps(sorted(found))}")] if found else []


def laboratory_tasks(world: World):  # type: ignore[no-untyped-def]
    """Where the tasks' output lies."""
    return world.laboratory.directory / "tasks"
