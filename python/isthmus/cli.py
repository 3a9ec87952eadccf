"""cli: the `isthmus` command. Each subcommand is imported when it is asked for."""

import argparse
import importlib
import signal
import sys
from collections.abc import Sequence

import isthmus
from isthmus import config
from isthmus.errors import IsthmusError

_programs = {
    "wan": "run a command per site, over an emulated wide-area network on this machine",
    "doctor": "measure the links between the sites of a run, and say what limits them",
    "demo": "train a language model across three emulated clouds, and write a report",
    "bench": "measure codecs, exchange, WAN and training on this machine, and write a report",
}


def coordinator(arguments: Sequence[str]) -> int:
    """Keep the roster until SIGINT or SIGTERM. Its address is the first line of the output."""
    parser = argparse.ArgumentParser(prog="isthmus coordinator", description=coordinator.__doc__)
    parser.add_argument("--listen", required=True, metavar="HOST:PORT", help="port 0: any free one")
    address = config.parse_address(parser.parse_args(arguments).listen, "--listen", any_port=True)
    from isthmus import _core

    # Blocked before the coordinator's thread starts, which inherits the mask: only sigwait gets
    # them.
    stops = {signal.SIGINT, signal.SIGTERM}
    signal.pthread_sigmask(signal.SIG_BLOCK, stops)
    keeper = _core.Coordinator(listen=str(address))
    try:
        print(f"isthmus coordinator at {keeper.address}", flush=True)
        signal.sigwait(stops)
    finally:
        keeper.close()
    return 0


def _end_in_order(*_: object) -> None:
    """What a program has begun is ended by its `finally` clauses."""
    sys.exit(128 + signal.SIGTERM)


def main(argv: Sequence[str] | None = None) -> int:
    signal.signal(signal.SIGTERM, _end_in_order)
    arguments = list(sys.argv[1:] if argv is None else argv)
    parser = argparse.ArgumentParser(
        prog="isthmus", description="Train one model across clouds.", add_help=True
    )
    parser.add_argument("--version", action="version", version=f"isthmus {isthmus.__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("coordinator", help="keep the roster of a run", add_help=False)
    for name, does in _programs.items():
        commands.add_parser(name, help=does, add_help=False)
    # Whatever follows the command belongs to it.
    command = parser.parse_args(arguments[:1]).command
    try:
        if command == "coordinator":
            return coordinator(arguments[1:])
        program = importlib.import_module(f"isthmus.{command}")
        return int(program.main(arguments[1:]) or 0)
    except IsthmusError as error:
        print(f"isthmus {command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
