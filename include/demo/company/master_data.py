"""Master data: legal entities, products, customers, contract prices, exchange rates and CRM accounts."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal

from demo.company.bank import iban
from demo.company.calendar import closing_moment, local_moment
from demo.company.model import Agreement, Customer, Entity, Product
from demo.company.money import from_euro, rounded
from demo.company.world import World

ENTITIES = (
    Entity("DE01", "Nordwind Messtechnik GmbH", "DE", "EUR", "Europe/Berlin", Decimal(19), ("HAM", "MUC")),
    Entity("GB01", "Northwind Instruments Ltd", "GB", "GBP", "Europe/London", Decimal(20), ("LDS", "RDG")),
    Entity("JP01", "Nordwind Japan K.K.", "JP", "JPY", "Asia/Tokyo", Decimal(10), ("TYO", "OSA")),
    Entity("KW01", "Nordwind Gulf W.L.L.", "KW", "KWD", "Asia/Kuwait", Decimal(0), ("KWI", "SHU")),
)
_CUSTOMERS = {"DE01": 48, "GB01": 26, "JP01": 26, "KW01": 20}
_GOODS = (
    ("Pressure gauge", "18.50"), ("Flow meter", "142.00"), ("Thermocouple", "9.80"), ("Data logger", "215.00"),
    ("Humidity probe", "64.00"), ("Level switch", "38.40"), ("Signal converter", "87.50"),
    ("Valve positioner", "310.00"), ("Calibration weight", "24.90"), ("Torque sensor", "189.00"),
    ("Cable set", "12.20"), ("Panel display", "76.00"),
    ("Mounting kit", "7.60"), ("Relay module", "29.30"), ("Power supply", "54.00"), ("Load cell", "98.00"),
    ("Gas detector", "265.00"), ("Vibration sensor", "119.00"), ("Inline filter", "16.40"), ("Sample bottle", "4.20"),
)  # fmt: skip
# Sold on agreement only: nobody orders them off the list, so an agreement never meets an order made without it.
_CONTRACT_GOODS = (
    ("Custom probe", "90.00"), ("Custom housing", "120.00"), ("Custom manifold", "75.00"), ("Custom seal set", "30.00"),
    ("Custom actuator", "500.00"), ("Custom board", "400.00"), ("Custom bracket", "22.00"), ("Custom cable", "35.00"),
)  # fmt: skip
_NAMES = {
    "DE01": (("Adler", "Brandt", "Cordes", "Dietrich", "Engel", "Falken", "Gerber", "Hansen"),
             ("Anlagenbau GmbH", "Chemie AG", "Maschinen GmbH & Co. KG", "Wasserwerke GmbH", "Pharma AG",
              "Logistik GmbH")),
    "GB01": (("Ashford", "Bexley", "Camden", "Dunmore", "Eastgate", "Farnham", "Grafton"),
             ("Process Controls Ltd", "Foods plc", "Engineering Ltd", "Utilities plc")),
    "JP01": (("Aoki", "Fujimoto", "Hayashi", "Inoue", "Kimura", "Matsuda", "Nakano"),
             ("Seiki K.K.", "Kagaku K.K.", "Denshi K.K.", "Shoji K.K.")),
    "KW01": (("Al Bahar", "Al Dana", "Al Futtaim", "Al Mulla", "Al Rayan"),
             ("Trading W.L.L.", "Petroleum Services K.S.C.", "Contracting W.L.L.", "Water Systems W.L.L.")),
}  # fmt: skip
_PACES = ("prompt", "normal", "slow", "bad")
_RATE_PAIRS = tuple((code, "EUR") for code in ("GBP", "JPY", "KWD", "USD")) + tuple(
    ("EUR", code) for code in ("GBP", "JPY", "KWD", "USD")
) + (("USD", "GBP"), ("USD", "JPY"), ("USD", "KWD"))  # fmt: skip
_RATE = {
    "EUR": Decimal("1"), "GBP": Decimal("1.176"), "JPY": Decimal("0.00618"), "KWD": Decimal("3.01"),
    "USD": Decimal("0.92"),
}  # fmt: skip
MISSING_RATE_DAYS_AGO = 111
"""The KWD rates of one day of the history, counted back from its end, were never delivered."""


def missing_rate_day(world: World) -> date:
    """The day on which KWD cannot be converted into EUR."""
    return world.base_today - timedelta(days=MISSING_RATE_DAYS_AGO)


def founding_moment(world: World) -> datetime:
    """When the master data was first recorded: the later an article or customer, the earlier, an hour apart."""
    return closing_moment(world.first - timedelta(days=1)) - timedelta(hours=len(world.customers) + len(world.products))


def add_master_data(world: World) -> None:
    """Fill the world with everything that exists before the first day."""
    _add_entities(world)
    _add_products(world)
    for code, count in _CUSTOMERS.items():
        for index in range(count):
            _add_customer(world, world.entities[code], index)
    _add_special_customers(world)


def _add_entities(world: World) -> None:
    at = founding_moment(world)
    for entity in ENTITIES:
        world.entities[entity.code] = entity
        world.book.add(
            "company", entity.code, at, id=entity.code, name=entity.name, ctry=entity.country,
            book_ccy=entity.currency, tz=entity.zone,
        )  # fmt: skip
        for currency in sorted({entity.currency, "USD"}):
            world.bank.open_account(entity, currency)


def _add_products(world: World) -> None:
    goods = [(name, "G", "EA", price) for name, price in (*_GOODS, *_CONTRACT_GOODS)]
    services = [
        ("Commissioning project", "S", "EA", "12000.00"), ("Monitoring subscription", "A", "SEAT", "45.00"),
        ("Starter kit", "K", "SET", "240.00"), ("Product sample", "G", "EA", "5.00"),
    ]  # fmt: skip
    for index, (name, kind, unit, price) in enumerate([*goods, *services], start=1):
        product = Product(f"A{index:04d}", f"NW-{index:03d}", name, kind, unit, Decimal(price), "sample" not in name)
        world.products.append(product)
        world.book.add(
            "article", product.id, founding_moment(world), id=product.id, art_no=product.sku, descr=product.name,
            art_kind=product.kind, unit=product.unit, tax_cls="FULL", billable=product.billable,
        )  # fmt: skip


def goods(world: World) -> list[Product]:
    """The ordinary goods."""
    return world.products[: len(_GOODS)]


def contract_goods(world: World) -> list[Product]:
    """The goods that are sold on agreement only."""
    return world.products[len(_GOODS) : len(_GOODS) + len(_CONTRACT_GOODS)]


def product_of_kind(world: World, kind: str) -> Product:
    """The product of a kind that exists once: S service, A subscription, K kit."""
    return next(product for product in world.products if product.kind == kind)


def _add_customer(world: World, entity: Entity, index: int) -> Customer:
    rng = world.rng
    stems, kinds = _NAMES[entity.code]
    name = f"{stems[index % len(stems)]} {kinds[index // len(stems) % len(kinds)]}"
    pace = _PACES[(0, 1, 2, 1, 1, 3, 1, 2, 0, 1)[index % 10]]
    customer = Customer(
        id=f"D{len(world.customers) + 1:05d}", entity=entity, name=name,
        vat=_tax_number(entity, len(world.customers) + 1), country=entity.country,
        currency="USD" if index % 9 == 4 else entity.currency, pace=pace,
        terms=rng.choice((14, 30, 30, 30, 45, 45, 60)),
        segment="online" if index % 12 == 7 and entity.code != "KW01" else rng.choice(("industry", "utility", "trade")),
        iban=_customer_iban(entity, len(world.customers) + 1), proof_needed=index % 11 == 3,
    )  # fmt: skip
    if index % 6 == 0:
        customer.discount_percent, customer.discount_days = Decimal(2), 10
    if customer.segment == "online":
        customer.currency = entity.currency
    world.customers.append(customer)
    register(world, customer)
    _agree_prices(world, customer)
    return customer


def _tax_number(entity: Entity, number: int) -> str:
    return f"{entity.country}{(number * 7_654_321 + 100_000_007) % 1_000_000_000:09d}"


def _customer_iban(entity: Entity, number: int) -> str:
    account = {"DE01": f"50010517{number:010d}", "GB01": f"BARC200000{number:08d}", "KW01": f"CBKU{number:022d}"}
    return iban("DE" if entity.code == "JP01" else entity.country, account.get(entity.code, f"70020270{number:010d}"))


def register(world: World, customer: Customer, *, parent: str | None = None, limit_euro: int = 50_000) -> None:
    """Record the customer in ERP and CRM with its bank account."""
    at = founding_moment(world)
    limit = from_euro(Decimal(limit_euro), customer.currency)
    world.book.add(
        "debtor", customer.id, at, id=customer.id, company_id=customer.entity.code, name=customer.name,
        vat_no=customer.vat, group_head_id=parent, ctry=customer.country, ccy=customer.currency,
        pay_days=customer.terms, disc_pct=customer.discount_percent, disc_days=customer.discount_days or None,
        limit_amt=limit, limit_ccy=customer.currency, seg=customer.segment, is_interco=customer.is_intercompany,
        is_test=customer.is_test,
    )  # fmt: skip
    bank_id = world.new_id("DB")
    world.book.add(
        "debtor_bank", bank_id, at, id=bank_id, debtor_id=customer.id, iban=customer.iban, known_from=world.first
    )
    # Four of five accounts carry the crosswalk; the others are linked by their tax number.
    crosswalk = customer.id if int(customer.id[1:]) % 5 else None
    customer.account_id = add_account(world, customer, customer.name, crosswalk)


def add_account(world: World, customer: Customer, name: str, crosswalk: str | None) -> str:
    """Add a CRM account for the customer and return its id."""
    key = crm_id(world, "001")
    world.book.add(
        "Account", key, founding_moment(world), Id=key, Name=name, CurrencyIsoCode=customer.currency,
        Type="Customer", Industry=customer.segment.title(), BillingCountryCode=customer.country, ParentId=None,
        TaxId__c=customer.vat, ErpCustomerId__c=crosswalk, LegalEntity__c=customer.entity.code,
        PaymentTermsDays__c=customer.terms, CreditLimit__c=from_euro(Decimal(50_000), customer.currency),
        IsIntercompany__c=customer.is_intercompany, IsTest__c=customer.is_test,
    )  # fmt: skip
    return key


def crm_id(world: World, prefix: str) -> str:
    """A record id as Salesforce writes it: 15 case-sensitive characters and 3 that make it safe without case."""
    short = f"{prefix}Nw{world.new_id(prefix)[len(prefix) :].rjust(10, '0')}"
    letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZ012345"
    chunks = (short[start : start + 5] for start in (0, 5, 10))
    return short + "".join(letters[sum(1 << i for i, c in enumerate(chunk) if c.isupper())] for chunk in chunks)


def _agree_prices(world: World, customer: Customer) -> None:
    rng = world.rng
    customer.agreed_products = rng.sample(goods(world), rng.randint(4, 8))
    for product in customer.agreed_products:
        price = from_euro(product.base_price * Decimal(rng.randint(84, 96)) / 100, customer.currency)
        tiers = [(1, price)]
        if rng.random() < 0.6:
            tiers.append((100, rounded(price * Decimal("0.93"), customer.currency)))
        year = date(2025, 12, 31)
        for from_quantity, first_price in tiers:
            later = rounded(first_price * Decimal("1.04"), customer.currency)
            agree(world, customer, product, from_quantity, first_price, world.first, year)
            agree(world, customer, product, from_quantity, later, year + timedelta(days=1), None)


def agree(
    world: World, customer: Customer, product: Product, from_quantity: int, price: Decimal, start: date,
    end: date | None, *, unit: str | None = None, currency: str | None = None, at: datetime | None = None,
) -> Agreement:  # fmt: skip
    """Record a contract price."""
    agreement = Agreement(
        product.id, unit or product.unit, currency or customer.currency, from_quantity, price, start, end
    )
    customer.agreements.append(agreement)
    key = world.new_id("PA")
    world.book.add(
        "price_agreement", key, at or founding_moment(world), id=key, debtor_id=customer.id, article_id=product.id,
        unit=agreement.unit, ccy=agreement.currency, from_qty=from_quantity, price=price, start_day=start, end_day=end,
    )  # fmt: skip
    return agreement


def contract_price(
    customer: Customer, product: Product, currency: str, unit: str, quantity: int, day: date
) -> Decimal | None:
    """The agreed price of the highest tier the quantity reaches on ``day``, or None without an agreement."""
    fitting = [
        agreement
        for agreement in customer.agreements
        if agreement.product_id == product.id
        and agreement.currency == currency
        and agreement.unit == unit
        and agreement.from_quantity <= quantity
        and agreement.start <= day
        and (agreement.end is None or day <= agreement.end)
    ]
    return max(fitting, key=lambda agreement: agreement.from_quantity).price if fitting else None


def _add_special_customers(world: World) -> None:
    """Intercompany buyers, the test account, a parent with its child, and a customer that exists twice."""
    entities = world.entities
    for seller, buyer, currency in (("DE01", "KW01", "EUR"), ("DE01", "JP01", "EUR"), ("JP01", "GB01", "USD")):
        _special(
            world, f"intercompany_{buyer}", entities[seller], entities[buyer].name, currency,
            segment="group", is_intercompany=True,
        )  # fmt: skip
    _special(world, "test", entities["DE01"], "ZZ Test account", "EUR", segment="test", is_test=True)
    parent = _special(world, "parent", entities["DE01"], "Hallmann Holding SE", "EUR")
    _special(world, "child", entities["DE01"], "Hallmann Werk Essen GmbH", "EUR", parent=parent.id)
    first = _special(world, "duplicate", entities["DE01"], "Ostermann Pumpen GmbH", "EUR")
    _special(world, "duplicate_twin", entities["DE01"], "OSTERMANN PUMPEN G.m.b.H.", "EUR", vat=first.vat)
    world.truth.case(
        "duplicate_customer", world.first, customer_ids=[first.id, world.special["duplicate_twin"].id], tax_id=first.vat
    )
    # Two customers that the CRM knows twice: the second account has no crosswalk and another spelling.
    for customer in (world.customers[2], world.customers[50]):
        add_account(world, customer, customer.name.upper(), None)


def _special(
    world: World, name: str, entity: Entity, legal_name: str, currency: str, *, segment: str = "industry",
    is_intercompany: bool = False, is_test: bool = False, parent: str | None = None, vat: str | None = None,
) -> Customer:  # fmt: skip
    number = 900 + len(world.special)
    customer = Customer(
        id=f"D{number:05d}", entity=entity, name=legal_name, vat=vat or _tax_number(entity, number),
        country=entity.country, currency=currency, terms=30, pace="normal", segment=segment,
        iban=_customer_iban(entity, number), is_intercompany=is_intercompany, is_test=is_test,
    )  # fmt: skip
    world.special[name] = customer
    register(world, customer, parent=parent)
    _agree_prices(world, customer)
    return customer


def add_rates(world: World, day: date) -> None:
    """Record the spot and closing rates of the day; weekends have rates too."""
    at = local_moment("Europe/Berlin", day, 17 * 3600)
    for code, (spot, closing) in _day_rates(world, day).items():
        base, quote = code[:3], code[3:]
        if base == "KWD" and quote == "EUR" and day == missing_rate_day(world):
            world.truth.case("missing_fx_rate", day, from_currency=base, to_currency=quote, rate_date=day.isoformat())
            continue
        for kind, value in (("M", spot), ("C", closing)):
            key = f"{base}{quote}{kind}{day:%y%m%d}"
            world.book.add("fx_quote", key, at, id=key, base_ccy=base, quote_ccy=quote, kind=kind, day=day, value=value)


def _day_rates(world: World, day: date) -> dict[str, tuple[Decimal, Decimal]]:
    """Rates wander slowly around their level, the same way whatever the size of the history."""
    phase = (day - world.first).days
    level = {
        code: rate * (1 + Decimal((phase * (7 + len(code) + index * 5)) % 97 - 48) / 2000)
        for index, (code, rate) in enumerate(_RATE.items())
        if code != "EUR"
    }
    level["EUR"] = Decimal(1)
    noise = Decimal(world.rng.randint(-40, 40)) / 100_000
    rates = {}
    for base, quote in _RATE_PAIRS:
        spot = level[base] / level[quote]
        rates[base + quote] = (_six_digits(spot), _six_digits(spot * (1 + noise)))
    return rates


def _six_digits(rate: Decimal) -> Decimal:
    """Six significant digits, as rates are quoted."""
    return rate.quantize(Decimal(1).scaleb(rate.adjusted() - 5))
