from __future__ import annotations

from o2c import errors


def test_an_error_says_what_where_and_next() -> None:
    error = errors.UsageError("No flow.", where="a.yml:3", next_step="Write one.")
    assert str(error) == "No flow.\n  where: a.yml:3\n  next:  Write one."
    assert str(errors.O2CError("No flow.")) == "No flow."


def test_exit_codes() -> None:
    codes = {name: getattr(errors, name).exit_code for name in vars(errors) if name[0].isupper() and name != "_"}
    assert codes["UsageError"] == 2
    assert {code for name, code in codes.items() if name != "UsageError"} == {1}


def test_a_fatal_error_carries_the_word_of_the_flow() -> None:
    assert errors.FatalSourceError("No.", reason="unauthorized").reason == "unauthorized"
    assert isinstance(errors.FatalSourceError("No.", reason="x"), errors.SourceError)
