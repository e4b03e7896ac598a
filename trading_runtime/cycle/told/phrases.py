"""Sentences that other parts of the runtime say in English, in the language of a message: the ladder's, the watcher's.

They are written in English where they are known, because reports, journals and logs are English. What people are told
is looked up here by its pattern: ``{}`` stands for what changes, and what changes is looked up again. A sentence that
is not known (a library's error) stays as it is. Which there are is in ``phrases_zh.py``; a test holds it to those who
say them.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import cache
from typing import Final

from trading_runtime.cycle.told import phrases_zh

PHRASES: Final[Mapping[str, Mapping[str, str]]] = {"en": {}, "zh": phrases_zh.PHRASES}
# A sentence within a sentence within a sentence; a text of somebody else must not cost more.
_DEPTH_MAX: Final = 4


def in_language(text: str, language: str, depth: int = 0) -> str:
    """Return ``text`` in a language, or as it is where nobody has translated it. Raises KeyError for an unknown one."""
    if not PHRASES[language] or depth == _DEPTH_MAX:
        return text
    for pattern, phrase in _patterns(language):
        match = pattern.fullmatch(text)
        if match is not None:
            return phrase.format(*(in_language(value, language, depth + 1) for value in match.groups()))
    return text


@cache
def _patterns(language: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    """The patterns, those that say most first: what is left open may be anything."""
    ordered = sorted(PHRASES[language].items(), key=lambda pair: (-len(pair[0].replace("{}", "")), pair[0]))
    return tuple(
        (re.compile("(.*?)".join(re.escape(part) for part in english.split("{}"))), phrase)
        for english, phrase in ordered
    )
