"""Words, amounts and figures of a memo in its language."""

from __future__ import annotations

import math
import re
from typing import Literal

from optimizer.comparison.comparison import Comparison
from optimizer.comparison.contender import Contender
from optimizer.memo.chinese import amount_in_chinese, in_chinese

Language = Literal["en", "zh"]


def say(text: str, language: Language) -> str:
    """A text of the memo in its language."""
    return in_chinese(text) if language == "zh" else text


def name(one: Contender, language: Language) -> str:
    """Hardware and tenure of a choice."""
    return f"{one.hardware} {say(one.tenure, language)}"


def money(c: Comparison, language: Language, usd: float) -> str:
    """An amount in the currency of the report."""
    if language == "zh" and math.isfinite(usd):
        return amount_in_chinese(c.sign, c.amount(usd))
    return c.money(usd)


def quoted(text: str, language: Language) -> str:
    """A sentence of the catalog or the plan: in Chinese, one without a translation is marked as original words."""
    said = say(text, language)
    return f"原文:{text}" if language == "zh" and said == text and re.search(r"[a-z]{2,} [a-z]{2,}", text) else said


def count(number: float) -> str:
    """A number of tokens for people: 2T, 500B."""
    for scale, letter in ((1e12, "T"), (1e9, "B"), (1e6, "M")):
        if number >= scale:
            return f"{number / scale:.4g}{letter}"
    return f"{number:,.0f}"


def figure(value: float, interval: list[float] | None = None) -> str:
    """A number of a table, four digits of small ones, and the interval that holds it."""
    said = f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.4g}"
    return said if interval is None else f"{said} ({figure(interval[0])}–{figure(interval[1])})"


def tonnes(kg: float | None) -> str:
    """A mass in tonnes; a dash where it is not known."""
    return "-" if kg is None else f"{kg / 1e3:,.0f} t"
