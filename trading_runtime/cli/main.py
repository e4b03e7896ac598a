"""The entrypoint: finds the verb, runs it, and turns errors into one line and an exit code.

Exit codes are those of ``core/errors.py``; 2 is a wrong command line, 130 an interruption, 1 a defect,
which keeps its traceback.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from types import FrameType

from trading_runtime.core.errors import (
    EXIT_CONFIGURATION,
    EXIT_DEFECT,
    EXIT_INTERRUPTED,
    TradingRuntimeError,
)

# A backtest does no linear algebra, but numpy's BLAS starts one thread per processor when it is imported:
# that costs start-up time and 30 MB of address space per thread, and on a shared node it wakes processors
# that are not ours. Must be set before numpy is imported.
for _name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.setdefault(_name, "1")
# Arrow's own allocator keeps 17 MB more than the system's for a file of 45,000 bars. Read when pyarrow is imported.
os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")

EXIT_BROKEN_PIPE = 141  # 128 + SIGPIPE, as shells report it
EXIT_TERMINATED = 143  # 128 + SIGTERM

# The libraries a bare clone lacks; any other missing module is a defect and keeps its traceback.
_LIBRARIES = frozenset(
    {
        "ccxt",
        "croniter",
        "hera",
        "kubernetes",
        "msgspec",
        "numba",
        "numpy",
        "obstore",
        "optuna",
        "pyarrow",
        "pydantic",
        "tqdm",
        "yaml",
    }
)


class Terminated(KeyboardInterrupt):
    """SIGTERM: cleaned up after like Ctrl-C."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code; without ``argv`` that of this process."""
    if argv is None:
        prepare_process()
        argv = sys.argv[1:]
    # Strategies of the folder one stands in can be named as module:Class, however the command was started.
    if os.getcwd() not in sys.path:
        sys.path.append(os.getcwd())
    try:
        code = _run(argv)
        sys.stdout.flush()
        return code
    except SystemExit as exit_:  # argparse: --help, --version, a wrong command line
        return exit_.code if isinstance(exit_.code, int) else EXIT_DEFECT
    except TradingRuntimeError as error:
        from trading_runtime.telemetry.redact import redact

        print(f"error: {redact(one_line(error))}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:
        # The reader has gone (`| head`). What Python still wants to flush at exit has nowhere to go.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except KeyboardInterrupt as interrupt:
        print("interrupted: nothing was left half-written", file=sys.stderr)
        return EXIT_TERMINATED if isinstance(interrupt, Terminated) else EXIT_INTERRUPTED
    except ModuleNotFoundError as error:
        library = (error.name or "").partition(".")[0]
        if library not in _LIBRARIES:
            raise
        print(
            f"error: {library} is not installed; install what the project needs: "
            "make run, or python -m pip install --require-hashes -r requirements.txt",
            file=sys.stderr,
        )
        return EXIT_CONFIGURATION


def prepare_process() -> None:
    """Make a process of its own end well: SIGTERM cleans up like Ctrl-C, and no output is too exotic for a
    terminal.

    A pod's first process has no default handler for SIGTERM and would only be killed, some time later.
    """

    def terminate(number: int, frame: FrameType | None) -> None:
        raise Terminated

    signal.signal(signal.SIGTERM, terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="replace")


def one_line(error: BaseException) -> str:
    """Return the message of an error without line breaks."""
    return " ".join(str(error).split())


def _run(argv: Sequence[str]) -> int:
    from trading_runtime.cli.arguments import parse
    from trading_runtime.cli.verbs import make_parser

    arguments = parse(make_parser(argv), argv)
    code: int = arguments.handler(arguments)
    return code
