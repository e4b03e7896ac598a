"""A process that runs the command again and again, as somebody at a prompt would: one JSON line in, one out.

It must not be a git clone's code: it is started with a copy of the package first on its path. Its computer's clock is
``offset_ms`` away from the real one, so that hours can pass.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import sys
import time
from typing import Any

_OFFSET_MS = [0]
_time, _time_ns = time.time, time.time_ns
time.time = lambda: _time() + _OFFSET_MS[0] / 1000.0
time.time_ns = lambda: _time_ns() + _OFFSET_MS[0] * 1_000_000


def answer(request: dict[str, Any]) -> dict[str, Any]:
    from trading_runtime.cli.main import main

    _OFFSET_MS[0] = request["offset_ms"]
    before = dict(os.environ)
    for name, value in request["changes"].items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main(request["arguments"])
    os.environ.clear()
    os.environ.update(before)
    return {"code": code, "out": out.getvalue(), "err": err.getvalue()}


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
