"""Amounts of money as people type them: ``$3M``, ``¥1.2M``, ``2.5M EUR``."""

from __future__ import annotations

import re
from typing import NamedTuple

_SYMBOLS = {"$": "USD", "¥": "CNY", "€": "EUR", "£": "GBP"}
_AMOUNT = re.compile(r"^\s*(?:([$¥€£])|([A-Za-z]{3})\b)?\s*([^A-Z\s]\S*?)\s*(?:\s([A-Za-z]{3})|([A-Z]{3}))?\s*$")


class Money(NamedTuple):
    """An amount in one currency (an upper-case ISO code)."""

    amount: float
    currency: str

    def usd(self, rates: dict[str, float]) -> float:
        """The amount in USD.

        Args:
            rates: USD per unit, by lower-case ISO code.

        Raises:
            UnknownNameError: no rate is known for the currency.

        >>> Money(1e6, "CNY").usd({"cny": 0.125})
        125000.0
        """
        from catalogs.errors import UnknownNameError
        from catalogs.naming import unknown_name

        rate = rates.get(self.currency.lower())
        if rate is None:
            raise UnknownNameError(unknown_name("currency", self.currency, (code.upper() for code in rates)))
        return self.amount * rate


def parse_money(text: str, what: str = "--budget") -> Money:
    """Read an amount; without a symbol or code it is USD, and ``¥`` is the yuan (write JPY for yen).

    Raises:
        UsageError: there is no positive number, or its suffix is unknown.

    >>> parse_money("¥1.2M")
    Money(amount=1200000.0, currency='CNY')
    >>> parse_money("2.5M EUR")
    Money(amount=2500000.0, currency='EUR')
    >>> parse_money("3MEUR")
    Money(amount=3000000.0, currency='EUR')
    >>> parse_money("$3,000,000")
    Money(amount=3000000.0, currency='USD')
    >>> parse_money("300k")
    Money(amount=300000.0, currency='USD')
    """
    from catalogs.errors import UsageError
    from catalogs.quantity import COUNT_UNITS, parse_positive

    match = _AMOUNT.match(text)
    symbol, before, number, after, glued = match.groups() if match else (None, None, "", None, None)
    codes = [code for code in (_SYMBOLS.get(symbol or ""), before, after, glued) if code]
    if len(codes) > 1 or not any(character.isdigit() for character in number):
        raise UsageError(f"{what}: {text!r} is not an amount of money; write for example $3M, ¥20M or '2.5M EUR'")
    code = codes[0] if codes else "USD"
    return Money(parse_positive(number, COUNT_UNITS, what), code.upper())
