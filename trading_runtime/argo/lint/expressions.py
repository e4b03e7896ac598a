"""The grammar of Argo's expressions, as far as manifests use them: syntax, and the names an expression asks for.

A subset of expr-lang's language definition (github.com/expr-lang/expr): what this refuses may be legal there, and is
better written more simply.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_TOKEN = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?)|(?P<text>'[^'\\]*'|\"[^\"\\]*\")"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*)|(?P<sign>\?\?|&&|\|\||==|!=|<=|>=|[-+*/%<>!?:.,()\[\]]))"
)
_BINARY = [
    {"??"},
    {"||", "or"},
    {"&&", "and"},
    {"==", "!=", "<", ">", "<=", ">=", "in", "matches", "contains", "startsWith", "endsWith"},
    {"+", "-"},
    {"*", "/", "%"},
]
_UNARY = {"!", "not", "-", "+"}
_LITERALS = {"true", "false", "nil"}


class ExpressionError(ValueError):
    """An expression that cannot be read, with where and why."""


def names_of(text: str) -> list[str]:
    """Return the dotted names an expression reads, ``lastRetry.exitCode`` or ``asInt()`` for a call, in their order.

    Raises ExpressionError for what is no expression.
    """
    reader = _Reader(text)
    reader.ternary()
    reader.end()
    return reader.names


class _Reader:
    """Recursive descent over the tokens; one method a level."""

    def __init__(self, text: str) -> None:
        self._tokens = list(_tokens(text))
        self._place = 0
        self.names: list[str] = []

    def end(self) -> None:
        if self._place < len(self._tokens):
            raise ExpressionError(f"{self._tokens[self._place][1]!r} is not expected here")

    def ternary(self) -> None:
        self._binary(0)
        if self._takes("?"):
            self.ternary()
            self._needs(":")
            self.ternary()

    def _binary(self, level: int) -> None:
        if level == len(_BINARY):
            self._unary()
            return
        self._binary(level + 1)
        while True:
            if self._peek() == "not" and self._peek(1) == "in":
                self._place += 1
            if self._peek() not in _BINARY[level]:
                return
            self._place += 1
            self._binary(level + 1)

    def _unary(self) -> None:
        while self._peek() in _UNARY:
            self._place += 1
        self._primary()

    def _primary(self) -> None:
        kind, token = self._next()
        if token == "(":
            self.ternary()
            self._needs(")")
            self._suffixes(None)
        elif token == "[":
            self._list("]")
            self._suffixes(None)
        elif kind == "name" and token not in _LITERALS:
            self._suffixes(token)
        elif kind == "sign":
            raise ExpressionError(f"{token!r} is not expected here")
        else:
            self._suffixes(None)

    def _suffixes(self, name: str | None) -> None:
        while True:
            if self._takes("."):
                kind, token = self._next()
                if kind != "name":
                    raise ExpressionError(f"a name must follow a point, not {token!r}")
                name = None if name is None else f"{name}.{token}"
            elif self._takes("["):
                kind, token = self._tokens[self._place] if self._place < len(self._tokens) else ("", "")
                if name is not None and kind == "text" and self._peek(1) == "]":
                    self._place += 2
                    name = f"{name}.{token[1:-1]}"
                else:
                    self.ternary()
                    self._needs("]")
                    self._note(name)
                    name = None
            elif self._takes("("):
                self._note(None if name is None else f"{name}()")
                self._list(")")
                name = None
            else:
                self._note(name)
                return

    def _list(self, closing: str) -> None:
        if self._takes(closing):
            return
        self.ternary()
        while self._takes(","):
            self.ternary()
        self._needs(closing)

    def _note(self, name: str | None) -> None:
        if name is not None:
            self.names.append(name)

    def _peek(self, ahead: int = 0) -> str:
        place = self._place + ahead
        return self._tokens[place][1] if place < len(self._tokens) and self._tokens[place][0] != "text" else ""

    def _takes(self, token: str) -> bool:
        if self._peek() != token:
            return False
        self._place += 1
        return True

    def _needs(self, token: str) -> None:
        if not self._takes(token):
            raise ExpressionError(f"{token!r} is missing")

    def _next(self) -> tuple[str, str]:
        if self._place >= len(self._tokens):
            raise ExpressionError("it ends too early")
        self._place += 1
        return self._tokens[self._place - 1]


def _tokens(text: str) -> Iterator[tuple[str, str]]:
    place = 0
    text = text.rstrip()
    while place < len(text):
        found = _TOKEN.match(text, place)
        if found is None:
            raise ExpressionError(f"{text[place:].strip()[:20]!r} cannot be read")
        place = found.end()
        kind = str(found.lastgroup)
        yield kind, found[kind]
