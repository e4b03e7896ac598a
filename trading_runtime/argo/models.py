"""The guard before every import of hera: its models must forbid unknown fields, which they silently drop by default.

hera's base model does not say what becomes of a keyword it does not know, so pydantic ignores it: a misspelt
``run_as_non_root`` would vanish from the manifest. The base must be told before ``hera.workflows`` defines its models.
"""

from __future__ import annotations

import sys

from trading_runtime.core.errors import TradingRuntimeError


def forbid_unknown_fields() -> None:
    """Make hera's models refuse fields they do not know; to be called before ``hera.workflows`` is imported.

    Raises TradingRuntimeError when something else imported it first: nothing may be built or checked with such models.
    """
    from hera.shared._pydantic import APIBaseModel

    if "hera.workflows" not in sys.modules:
        APIBaseModel.model_config["extra"] = "forbid"
    from hera.workflows import models

    if models.PodGC.model_config.get("extra") != "forbid":
        raise TradingRuntimeError(
            "hera.workflows was imported before trading_runtime.argo.models could make it forbid unknown fields: "
            "call forbid_unknown_fields() first"
        )
