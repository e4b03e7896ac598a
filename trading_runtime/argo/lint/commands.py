"""Whether our own command line would accept what the containers start. The parser is given by the caller."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence

from trading_runtime.argo.lint.documents import Document, Finding
from trading_runtime.argo.pods import COMMAND

# Says in one line why a command line is refused, None when it is accepted.
Refusal = Callable[[Sequence[str]], str | None]

_TAG = re.compile(r"\{\{(.*?)\}\}")
# What stands for a value that is known at run time only, by the last word of its name.
_PLAUSIBLE = {
    "sweep": "0123456789abcdef",
    "shard": "0",
    "shards": "1",
    "item": "0",
    "commit": "0123456789abcdef0123456789abcdef01234567",
    "scheduledTime": "2026-01-31T12:02:00Z",
    "configuration": "sweep.json",
}


def commands(document: Document, refusal: Refusal) -> Iterator[Finding]:
    """Yield findings about the command lines of a workflow document."""
    for path, template in document.templates():
        container = template.get("container") or {}
        command = [str(word) for word in container.get("command") or []]
        if not command or command[0].rpartition("/")[2] != COMMAND:
            continue
        words = [plausible(str(word)) for word in [*command[1:], *(container.get("args") or [])]]
        refused = refusal(words)
        if refused is not None:
            yield document.finding(f"{path}.container.args", f"our own command refuses this: {refused}")


def plausible(word: str) -> str:
    """Return a word with what a run fills in replaced by a value of its kind."""
    return _TAG.sub(lambda tag: _PLAUSIBLE.get(tag[1].strip().rpartition(".")[2], "value"), word)
