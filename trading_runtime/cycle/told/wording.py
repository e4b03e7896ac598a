"""Texts in one language, with their numbers. Numbers look the same in every language: 1,234.56, +1.23 %, 0.5556."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from math import isfinite
from typing import Any, Final

from trading_runtime.core.instruments import decimal_text
from trading_runtime.cycle.told import texts_en, texts_zh
from trading_runtime.cycle.told.phrases import in_language

LANGUAGES: Final[Mapping[str, Mapping[str, str]]] = {"en": texts_en.TEXTS, "zh": texts_zh.TEXTS}


class Wording:
    """The texts of one language."""

    def __init__(self, language: str) -> None:
        """Raise ValueError for a language that there is not."""
        if language not in LANGUAGES:
            raise ValueError(f"there is no language {language!r}, there are {', '.join(LANGUAGES)}")
        self._texts = LANGUAGES[language]
        self._language = language

    def __call__(self, key: str, **values: Any) -> str:
        """Return the text of ``key`` with its placeholders filled; raises KeyError for a key that no language has."""
        return self._texts[key].format(**values)

    def named(self, kind: str, name: str) -> str:
        """Return what people call a gate or a source; what has no text of its own is called by its name."""
        return self._texts.get(f"{kind}_{name}", name) if name else self._texts["unknown"]

    def said(self, text: str) -> str:
        """Return a sentence of another part of the runtime in this language, as far as it is known."""
        return in_language(text, self._language)

    def money(self, value: float | None) -> str:
        """Two decimals, thousands apart."""
        return self._formed(value, ",.2f")

    def score(self, value: float | None) -> str:
        """Four decimals."""
        return self._formed(value, ".4f")

    def share(self, value: float | None) -> str:
        """A fraction of 1 as percent."""
        return self._text("unknown") if value is None or not isfinite(value) else f"{value * 100.0:.1f} %"

    def change(self, value: float | None) -> str:
        """A signed fraction of 1 as percent."""
        return self._text("unknown") if value is None or not isfinite(value) else f"{value * 100.0:+.2f} %"

    def price(self, value: float | None) -> str:
        """All digits that tell the number apart, never with an exponent."""
        if value is None or not isfinite(value):
            return self._text("unknown")
        return decimal_text(Decimal(repr(float(value))))

    def _formed(self, value: float | None, form: str) -> str:
        return self._text("unknown") if value is None or not isfinite(value) else format(value, form)

    def _text(self, key: str) -> str:
        return self._texts[key]
