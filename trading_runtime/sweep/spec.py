"""The spec of a sweep: one sealed document with everything a shard needs, and the cells it describes.

    sweeps/<sweep_id>/spec.json     written once by plan

``sweep_id`` is the beginning of the hash of the spec less ``origin``, which holds what explains a result and changes
none: where the strategy was found, the files of its code, manifests. The cells are not listed: cell ``index`` is
period ``index // combinations`` and combination ``index % combinations``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from trading_runtime.backtest.trace import ENGINE_SEMANTICS
from trading_runtime.config.load import SECTIONS_WITHOUT_EFFECT, settings_json
from trading_runtime.config.schema import STRATEGY_CLASS, Settings
from trading_runtime.config.strategies import strategy_name
from trading_runtime.core.errors import ConfigurationError, DataError
from trading_runtime.core.hashing import json_hash
from trading_runtime.core.parameters import Scalar
from trading_runtime.core.strategy import Strategy
from trading_runtime.objects.blobs import get_blob, put_blob
from trading_runtime.objects.port import ObjectMissing, ObjectStore
from trading_runtime.objects.seal import seal, unseal
from trading_runtime.source import closure_files, strategy_code_hash
from trading_runtime.strategies.registry import find_strategy
from trading_runtime.sweep.periods import Period
from trading_runtime.sweep.settings import Direction
from trading_runtime.sweep.space import Places, Space, make_space

SCHEMA_VERSION = 1
ID_DIGITS = 16
_SWEEP_ID = re.compile(r"[0-9a-f]{16}")


@dataclass(frozen=True)
class Cell:
    """One backtest of a sweep: its place among the cells, its period and all parameters of its strategy."""

    index: int
    period: Period
    strategy: Strategy

    @property
    def parameters(self) -> dict[str, Scalar]:
        parameters: dict[str, Scalar] = self.strategy.params.to_json()
        return parameters


@dataclass
class Sweep:
    """A spec, understood. ``places`` are the chosen combinations; of an Optuna search those that are decided so far."""

    sweep_id: str
    content: Mapping[str, Any]
    settings: Settings
    kind: type[Strategy]
    space: Space
    periods: tuple[Period, ...]
    places: Places = field(repr=False)

    @property
    def name(self) -> str:
        return str(self.content["name"])

    @property
    def metric(self) -> str:
        return str(self.content["metric"])

    @property
    def direction(self) -> Direction:
        direction: Direction = self.content["direction"]
        return direction

    @property
    def combinations(self) -> int:
        """Combinations of every period, also those that an Optuna search has not decided yet."""
        return int(self.content["space"]["combinations"])

    @property
    def count(self) -> int:
        """Cells in all."""
        return self.combinations * len(self.periods)

    @property
    def is_adaptive(self) -> bool:
        """Whether later combinations depend on earlier results."""
        return bool(self.content["search"]["kind"] == "optuna")

    def is_decided(self, index: int) -> bool:
        """Whether it is known which combination the cell has."""
        return index % self.combinations < len(self.places)

    def cell(self, index: int) -> Cell:
        """Return the cell at ``index``."""
        number, combination = divmod(index, self.combinations)
        swept = self.space.parameters(int(self.places[combination]))
        return Cell(index, self.periods[number], self.kind({**self.space.fixed, **swept}))

    def swept(self, index: int) -> dict[str, Scalar]:
        """Return the swept parameters of the cell at ``index``."""
        return self.space.parameters(int(self.places[index % self.combinations]))

    def indices(self, shard: int = 0, shards: int = 1) -> range:
        """Return the indices of a shard: every ``shards``-th one, beginning with ``shard``."""
        return range(shard, self.count, shards)


def spec_key(sweep_id: str) -> str:
    return f"sweeps/{sweep_id}/spec.json"


def checked_sweep_id(text: str) -> str:
    """Return the id; raises ConfigurationError for what cannot be one."""
    if not _SWEEP_ID.fullmatch(text):
        raise ConfigurationError(f"{text!r} is no sweep id: it has 16 hexadecimal digits, as `sweep plan` prints them")
    return text


def id_of(content: Mapping[str, Any]) -> str:
    """Return the id of a spec: what explains and changes nothing is left out."""
    return json_hash({name: value for name, value in content.items() if name != "origin"})[:ID_DIGITS]


def effective_settings(settings: Settings) -> dict[str, Any]:
    """Return the settings of the backtest as far as they can change a result; files by name, wherever they lie."""
    content = settings_json(settings)
    for source in (*content["data"], *content["funding"].values()):
        if source["path"] is not None:
            source["path"] = Path(source["path"]).name
    if content["artifact"] is not None:
        content["artifact"]["folder"] = Path(content["artifact"]["folder"]).name
    return {key: value for key, value in content.items() if key not in SECTIONS_WITHOUT_EFFECT}


def code_of(kind: type[Strategy]) -> dict[str, Any]:
    """Return what explains the hash of a strategy's code: its files, by name, and the defaults of its parameters."""
    root = Path(__file__).resolve().parents[2]

    def name(path: Path) -> str:
        return str(path.relative_to(root)) if path.is_relative_to(root) else path.name

    return {
        "files": {name(Path(path)): digest for path, digest in closure_files(kind).items()},
        "defaults": {name: declared.default for name, declared in kind.Params.declared.items()},
    }


def make_content(
    *,
    name: str,
    metric: str,
    direction: str,
    settings: Settings,
    kind: type[Strategy],
    space: Space,
    where: list[str],
    search: Mapping[str, Any],
    places: Mapping[str, Any],
    periods: list[Period],
    data: Mapping[str, Any],
    origin: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the content of a spec. ``places`` is what ``store_places`` returned."""
    backtest = effective_settings(settings)
    backtest["strategy"] = {STRATEGY_CLASS: kind.__qualname__}
    return {
        "schema_version": SCHEMA_VERSION,
        "engine_semantics": ENGINE_SEMANTICS,
        "name": name,
        "metric": metric,
        "direction": direction,
        "strategy": {"class": kind.__qualname__, "code_hash": strategy_code_hash(kind), "fixed": dict(space.fixed)},
        "backtest": backtest,
        "space": {"values": {key: list(values) for key, values in space.values.items()}, "where": where, **places},
        "search": dict(search),
        "periods": [period.to_json() for period in periods],
        "data": dict(data),
        "origin": dict(origin),
    }


def store_places(store: ObjectStore, space: Space, places: Places | None, count: int) -> dict[str, Any]:
    """Put the chosen places into the store and return how the spec names them; None are decided later.

    All places of a product need no blob, others one bit each while that is shorter than eight bytes for each chosen
    one; the order of a draw needs those.
    """
    if places is None:
        return {"combinations": count, "form": "later", "blob": None}
    if len(places) == space.count and (np.diff(places) == 1).all():
        return {"combinations": count, "form": "all", "blob": None}
    if (np.diff(places) > 0).all() and space.count <= 64 * len(places):
        bits = np.zeros(space.count, dtype=np.bool_)
        bits[places] = True
        return {"combinations": count, "form": "bits", "blob": put_blob(store, np.packbits(bits).tobytes())}
    return {"combinations": count, "form": "list", "blob": put_blob(store, places.astype("<i8").tobytes())}


def write_spec(store: ObjectStore, content: Mapping[str, Any]) -> tuple[str, bool]:
    """Write a spec once; return its id and whether it is new."""
    sweep_id = id_of(content)
    return sweep_id, store.create(spec_key(sweep_id), seal(content))


def read_content(store: ObjectStore, sweep_id: str) -> dict[str, Any]:
    """Return a spec as it was written; raises ConfigurationError when there is none, ObjectDamaged or DataError when it
    cannot be used.
    """
    key = spec_key(checked_sweep_id(sweep_id))
    try:
        content = unseal(f"{store.label}: {key}", store.get(key))
    except ObjectMissing:
        raise ConfigurationError(
            f"{store.label} holds no sweep {sweep_id}: plan it there, or give another --store"
        ) from None
    if content.get("schema_version") != SCHEMA_VERSION:
        raise DataError(
            f"{key}: has schema version {content.get('schema_version')}, this program reads {SCHEMA_VERSION}"
        )
    if id_of(content) != sweep_id:
        raise DataError(f"{key}: is the spec of another sweep, {id_of(content)}")
    return content


def load_sweep_spec(store: ObjectStore, sweep_id: str, *, strategy: str | None = None, any_code: bool = False) -> Sweep:
    """Return a sweep from its spec. ``strategy`` says where its class is found, instead of where the plan found it.

    Raises ConfigurationError when the code here is not the code that was planned; ``any_code`` lets it pass, for
    reading results only.
    """
    content = read_content(store, sweep_id)
    kind = find_strategy(strategy_name(strategy or str(content["origin"]["strategy"]), Path.cwd()))
    if not any_code:
        _refuse_other_code(content, kind, sweep_id)
    settings = msgspec.convert(content["backtest"], Settings)
    described = content["space"]
    space = make_space(described["values"], described["where"], kind.Params, content["strategy"]["fixed"])
    periods = tuple(Period(**period) for period in content["periods"])
    return Sweep(sweep_id, content, settings, kind, space, periods, _places(store, described, space))


def _refuse_other_code(content: Mapping[str, Any], kind: type[Strategy], sweep_id: str) -> None:
    planned = content["strategy"]
    if content["engine_semantics"] != ENGINE_SEMANTICS:
        raise ConfigurationError(
            f"sweep {sweep_id} was planned for engine semantics {content['engine_semantics']}, this program has "
            f"{ENGINE_SEMANTICS}: plan it again with this one, or run the image that planned it"
        )
    if kind.__qualname__ != planned["class"] or strategy_code_hash(kind) != planned["code_hash"]:
        before, now = content["origin"].get("code", {}).get("files", {}), code_of(kind)["files"]
        changed = sorted(name for name in {*before, *now} if before.get(name) != now.get(name))
        raise ConfigurationError(
            f"sweep {sweep_id} was planned with other code of {planned['class']} (differs: "
            f"{', '.join(changed) or 'class'}): plan it again with this code, or run the image that planned it"
        )


def _places(store: ObjectStore, described: Mapping[str, Any], space: Space) -> Places:
    form, count = described["form"], int(described["combinations"])
    if form == "later":
        return np.zeros(0, dtype=np.int64)
    if form == "all":
        return np.arange(count, dtype=np.int64)
    content = get_blob(store, described["blob"])
    if form == "bits":
        bits = np.unpackbits(np.frombuffer(content, np.uint8), count=space.count)
        return np.flatnonzero(bits).astype(np.int64)
    return np.frombuffer(content, "<i8").astype(np.int64)


def sweep_ids(store: ObjectStore) -> Iterator[str]:
    """Yield the ids of all sweeps that are planned in a store, ascending."""
    for key in store.keys("sweeps/"):
        parts = key.split("/")
        if len(parts) == 3 and parts[2] == "spec.json":
            yield parts[1]
