from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from o2c.contracts.expressions import compile_condition
from o2c.errors import UsageError

COLUMNS = ("due_on", "issued_on", "total", "net", "status", "note")


@pytest.mark.parametrize(
    ("rule", "sql"),
    [
        ("due_on >= issued_on", '"due_on" >= "issued_on"'),
        ("total = net * 1.19", '"total" = "net" * 1.19'),
        ("status IN ('open','it''s')", "\"status\" in ( 'open' , 'it''s' )"),
        ("note is not null and length(note) < 5", '"note" is not null and length ( "note" ) < 5'),
        ("case when total > 0 then true else false end", 'case when "total" > 0 then true else false end'),
        ("abs(total - net) <= 0.01", 'abs ( "total" - "net" ) <= 0.01'),
        ("total between 0 and 10", '"total" between 0 and 10'),
        ("not (note like '%;--%')", "not ( \"note\" like '%;--%' )"),
        ("note ~ '^[A-Z]{2}$'", "\"note\" ~ '^[A-Z]{2}$'"),
        ("(net is null) <> (note is null)", '( "net" is null ) <> ( "note" is null )'),
        ("total > - net", '"total" > - "net"'),
    ],
)
def test_a_condition_becomes_sql(rule: str, sql: str) -> None:
    assert compile_condition(rule, COLUMNS) == sql


@pytest.mark.parametrize("name", ["Due_On", "DUE_ON", "dueon", "select", "pg_read_file", "current_date", "now"])
def test_only_columns_and_listed_words(name: str) -> None:
    with pytest.raises(UsageError, match=f"'{name}' is not a column"):
        compile_condition(f"{name} = 1", COLUMNS)


@pytest.mark.parametrize(
    "text", ["net = 'open", "net = 1;", 'net = "x"', "net = $1", "net @> 1", "net = `x`", "net = \x00"]
)
def test_characters_outside_the_language(text: str) -> None:
    with pytest.raises(UsageError, match="cannot stand in a rule"):
        compile_condition(text, COLUMNS)


@given(st.text(alphabet="abc'();-/*\\\"$ \n,=<>netodu_1.:E|%{}", max_size=40))
@example("net - - 1 = 2")
@example("net = 1 -- x")
@example("net = 1 / * 2 * / 1")
def test_nothing_that_compiles_can_leave_the_condition(text: str) -> None:
    try:
        sql = compile_condition(text, COLUMNS)
    except UsageError:
        return
    outside = "".join(part for index, part in enumerate(sql.split("'")) if index % 2 == 0)
    assert sql.count("'") % 2 == 0
    assert not any(word in outside for word in (";", "--", "/*", "\\", "$", ":", "{"))
    depth = 0
    for character in outside:
        depth += {"(": 1, ")": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0
