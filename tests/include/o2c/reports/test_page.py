from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from html.parser import HTMLParser

from o2c.reports.evidence import gather
from o2c.reports.facts import Facts
from o2c.reports.page import page

VOID = {"meta", "link", "br"}


class Outline(HTMLParser):
    """Tags, ids, links and words of a page; complains about tags that do not close."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.words: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        values = dict(attrs)
        self.ids += [values["id"] or ""] if "id" in values else []
        self.links += [values["href"] or ""] if "href" in values else []
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).replace("\u00a0", " ").split())


def write(facts: Facts) -> tuple[str, Outline]:
    html = page(facts, gather(facts))
    return html, Outline(html)


def test_a_hostile_name_stays_a_name(facts: Facts) -> None:
    html, outline = write(facts)
    assert "script" not in outline.tags
    assert "&lt;script&gt;alert(1)&lt;/script&gt; &amp; Söhne" in html
    assert "<script>alert(1)</script> & Söhne" in outline.text


def test_nothing_is_fetched_and_no_script_runs(facts: Facts) -> None:
    html, outline = write(facts)
    assert not {"script", "img", "iframe", "object"} & set(outline.tags)
    assert [link for link in outline.links if not link.startswith(("#", "data:"))] == []
    assert re.findall(r"(?:src=|url\(|@import)", html) == []
    assert "default-src 'none'" in html


def test_every_link_leads_somewhere_and_every_id_is_its_own(facts: Facts) -> None:
    _, outline = write(facts)
    targets = {link[1:] for link in outline.links if link.startswith("#")}
    assert targets <= set(outline.ids)
    assert len(outline.ids) == len(set(outline.ids))


def test_the_headlines_stand_on_the_page(facts: Facts) -> None:
    _, outline = write(facts)
    for words in (
        "Net receivables EUR 4.6 M EUR 4,634,023.84: open invoices less unapplied cash and credits",
        "Past due 20.3 % EUR 957 k of EUR 4.7 M open invoices",
        "Leaks, recoverable EUR 30.8 k L01 EUR 8.1 k · L03 EUR 22.5 k · L05 EUR 56 · L13 EUR 120",
        "Sub-ledger and control account agree in all 70 comparisons",
        "Quarantine 3 rows EUR 200.00, KWD 0.125",
        "last load L000000004",
    ):
        assert words in outline.text


def test_the_evidence_block_is_complete(facts: Facts) -> None:
    evidence = gather(facts)
    _, outline = write(facts)
    assert evidence.sha256 in outline.text and facts.code_version in outline.text
    for part in evidence.parts:
        assert part.sha256 in outline.text
    for words in ("as of 31 Mar 2026; reporting currency EUR", "Intercompany", "EUR 12,000.00", "No exchange rate"):
        assert words in outline.text


def test_a_difference_is_shown_in_words(broken: Callable[..., Facts]) -> None:
    facts = broken("tie_outs", 0, difference_amount=Decimal("-0.01"), is_tied_out=False)
    _, outline = write(facts)
    assert "1 of 70 comparisons do not agree." in outline.text
    assert "Tie-out difference EUR −0.01" in outline.text
    assert "! differs" in outline.text


def test_a_flow_that_was_held_back_is_shown(broken: Callable[..., Facts]) -> None:
    _, outline = write(broken("loads", 0, state="stopped", error="A rule stops the load.\n  where: x"))
    assert "3 of 4 flows published" in outline.text
    assert "! newest load stopped A rule stops the load." in outline.text


def test_a_missing_rate_is_named_and_not_shown_as_zero(facts: Facts, broken: Callable[..., Facts]) -> None:
    last = len(facts.ageing) - 1
    _, outline = write(broken("ageing", last, closing_rate=None, net_receivables_amount_reporting=None))
    assert "no rate" in outline.text


def test_an_empty_warehouse_explains_itself() -> None:
    _, outline = write(Facts("EUR"))
    assert "The marts hold no receivables yet" in outline.text
    assert outline.text.count("Not computed: nothing has been built yet") == 2
    assert "Nothing has been loaded yet." in outline.text
    assert "svg" not in outline.tags


def test_many_leaks_are_cut_short_and_say_so(facts: Facts) -> None:
    many = [leak | {"finding_id": f"{leak['finding_id']}-{n}"} for n in range(20) for leak in facts.leaks]
    _, outline = write(replace(facts, leaks=many))
    assert "The 40 largest of 100 findings; the workbook holds all of them" in outline.text


def test_the_page_has_no_other_time_than_that_of_the_loads(facts: Facts) -> None:
    html, _ = write(facts)
    assert set(re.findall(r"\d{4}-\d\d-\d\d \d\d:\d\d", html)) == {
        "2026-04-01 06:04",
        "2026-04-01 06:05",
        "2026-04-01 06:06",
        "2026-04-01 06:07",
        "2026-04-01 06:12",
    }
    assert html == page(facts, gather(facts))


def test_methods_that_agree_at_every_date_are_one_line(facts: Facts) -> None:
    values = {row["as_of_date"]: row["dso_days"] for row in facts.dso if row["metric_name"] == "dso_rolling_3"}
    same = [row | {"dso_days": values[row["as_of_date"]]} for row in facts.dso]
    _, apart = write(facts)
    _, together = write(replace(facts, dso=same))
    assert "Rolling 3 119.0" in apart.text and "Both" not in apart.text
    assert "Both" in together.text and "Rolling 3 119.0" not in together.text
