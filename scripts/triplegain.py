"""The `triplegain` command: each verb in a module of its own, imported when it is called."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Group, Parameter, validators

EXIT_USAGE = 2

app = App(
    name="triplegain",
    help="The execution layer between a trading strategy and the Kraken exchange. Paper trading unless told otherwise.",
    version_flags=["--version"],
)
WHAT = Group("What to trade on")
HOW_LONG = Group("How fast and how long")
WHERE = Group("Where things are kept")
OUTPUT = Group("What is shown")
SEEDS = Group("Which seeds")
SEEDS_BY_DEFAULT, FIRST_SEED = 1_000, 1
SPEED = "max"
LIVE_PRICES = "kraken"
LOG_LEVELS = ("TRACE", "DEBUG", "INFO", "SUCCESS", "WARNING", "ERROR", "CRITICAL")


def _speed(_type: object, tokens: object) -> int | None:
    """Return the speed, None for as fast as it goes."""
    text = tokens[0].value  # type: ignore[index]
    if text == SPEED:
        return None
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 1_000_000):
        raise ValueError(f"speed is {text!r}; give a whole number from 1 to 1000000, or max")
    return int(text)


def _log_level(_type: object, tokens: object) -> str:
    text = str(tokens[0].value)  # type: ignore[index]
    if text.upper() not in LOG_LEVELS:
        raise ValueError(f"log level is {text!r}; give one of {', '.join(LOG_LEVELS)}")
    return text.upper()


@app.command
def run(
    *,
    prices: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=(), group=WHAT)] = None,
    proposals: Annotated[Path | None, Parameter(group=WHAT)] = None,
    demo: Annotated[bool | None, Parameter(group=WHAT)] = None,
    speed: Annotated[int | None, Parameter(group=HOW_LONG, converter=_speed)] = -1,
    for_seconds: Annotated[
        int | None, Parameter(name="--for", group=HOW_LONG, validator=validators.Number(gte=1))
    ] = None,
    until_prices_end: Annotated[bool, Parameter(group=HOW_LONG, negative=())] = False,
    config: Annotated[Path | None, Parameter(group=WHERE)] = None,
    state: Annotated[Path, Parameter(group=WHERE)] = Path(".triplegain"),
    report: Annotated[Path | None, Parameter(group=OUTPUT)] = None,
    log_json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False,
    log_level: Annotated[str, Parameter(group=OUTPUT, converter=_log_level)] = "INFO",
) -> int:
    """Trade until told to stop: Ctrl-C or SIGTERM drains and leaves with a summary.

    Parameters
    ----------
    prices
        SYMBOL=FILE for each symbol (Kraken's own history files, plain or .gz), random:SEED, or kraken for live ones.
    proposals
        A file of proposals, one JSON object a line.
    demo
        Whether the demonstration strategy hands in proposals; by default when there is no file and prices are random.
    speed
        How many times faster than the wall clock, or max. By default max for files, and otherwise 1.
    for_seconds
        End after so many seconds of the prices' clock.
    until_prices_end
        End with the prices.
    config
        A directory with execution.yaml and risk.yaml.
    state
        Where the embedded database lives. DATABASE_URL in the environment names another server instead.
    report
        Write the summary as one JSON object to this file.
    log_json
        Print log lines as JSON, and the summary as the last of them.
    log_level
        The lowest level that is printed.

    """
    from scripts.arguments import Arguments  # noqa: PLC0415 - The other verbs do without it.
    from scripts.trading import trade_until_done  # noqa: PLC0415 - The other verbs do without it.

    words = tuple(prices or ("random:1",))
    is_random = words[0].startswith("random:")
    is_paced = is_random or words == (LIVE_PRICES,)
    return trade_until_done(
        Arguments(
            config=config,
            state=state,
            prices=words,
            speed=(1 if is_paced else None) if speed == -1 else speed,
            proposals=proposals,
            demo=(is_random and proposals is None) if demo is None else demo,
            for_seconds=for_seconds,
            until_prices_end=until_prices_end,
            report=report,
            log_json=log_json,
            log_level=log_level,
        )
    )


@app.command
def simulate(
    *,
    seeds: Annotated[int | None, Parameter(group=SEEDS, validator=validators.Number(gte=1, lte=1_000_000_000))] = None,
    seed: Annotated[
        int | None, Parameter(group=SEEDS, validator=validators.Number(gte=0, lte=1_000_000_000_000))
    ] = None,
    minutes: Annotated[int, Parameter(group=HOW_LONG, validator=validators.Number(gte=1, lte=1_440))] = 3,
    jobs: Annotated[int | None, Parameter(group=HOW_LONG, validator=validators.Number(gte=1, lte=1_024))] = None,
    trace: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False,
    shrink: Annotated[bool | None, Parameter(group=OUTPUT)] = None,
    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False,
) -> int:
    """Put the engine under fire from seeds: every fault, crashes anywhere, and every promise checked throughout.

    A seed draws a story, which is acted out on the real actors with a virtual clock and an exchange and a database
    that misbehave. The same seed makes the same story, message by message. Exit code 1 when a seed fails. Ctrl-C
    ends it with what was done so far.

    Parameters
    ----------
    seeds
        How many seeds; 1,000 by default, or one when only --seed is given.
    seed
        The first seed, 1 by default.
    minutes
        How long each story is, on its own clock, before everything is left in peace to come right.
    jobs
        How many processes work; by default one for each core. What is printed does not depend on it.
    trace
        Print every message of one seed as it is read.
    shrink
        Shrink every failing story that is told (five at most) to a short one that fails in the same way. Without a
        word the first one is, for a few seconds; with --no-shrink none.
    json
        Print one JSON object and nothing else.

    """
    from scripts.simulating import Wanted, simulate_seeds  # noqa: PLC0415 - The other verbs do without it.

    if trace and (json or (seeds is not None and seeds > 1)):
        other = "--json" if json else f"--seeds {seeds}"
        print(f"triplegain: --trace shows one seed line by line, and does not go with {other}", file=sys.stderr)
        return EXIT_USAGE
    is_one = trace or (seeds is None and seed is not None)
    return simulate_seeds(
        Wanted(
            first=FIRST_SEED if seed is None else seed,
            count=1 if is_one else SEEDS_BY_DEFAULT if seeds is None else seeds,
            minutes=minutes,
            jobs=jobs,
            shrinks=shrink,
            traces=trace,
            as_json=json,
        )
    )


@app.command
def backup(
    file: Path,
    /,
    *,
    force: Annotated[bool, Parameter(negative=(), group=WHERE)] = False,
    state: Annotated[Path, Parameter(group=WHERE)] = Path(".triplegain"),
) -> int:
    """Write the whole database, every account of it, into one file. Engines may run meanwhile.

    The file is an archive of PostgreSQL's own pg_dump. It appears whole or not at all.

    Parameters
    ----------
    file
        Where the backup goes.
    force
        Replace a file that exists.
    state
        Where the embedded database lives. DATABASE_URL in the environment names another server instead.

    """
    from scripts.backups import write_backup  # noqa: PLC0415 - The other verbs do without it.

    return write_backup(file, state, force=force)


@app.command
def restore(
    file: Path,
    /,
    *,
    replace: Annotated[bool, Parameter(negative=(), group=WHERE)] = False,
    keep_paper: Annotated[bool, Parameter(negative=(), group=WHERE)] = False,
    state: Annotated[Path, Parameter(group=WHERE)] = Path(".triplegain"),
) -> int:
    """Put a backup back: all of it in one transaction, or nothing. No engine may run on this database.

    What happened at the exchange since the backup, the next start finds out and takes up.

    Parameters
    ----------
    file
        A file that `triplegain backup` has made, with this version or an older one.
    replace
        Give up what the database holds now. Without it, only an empty one is restored into.
    keep_paper
        Leave the paper exchange in the present: what a restore beside a real exchange is like.
    state
        Where the embedded database lives. DATABASE_URL in the environment names another server instead.

    """
    from scripts.backups import read_backup  # noqa: PLC0415 - The other verbs do without it.

    return read_backup(file, state, replace=replace, keep_paper=keep_paper)


@app.command
def mock_exchange(
    *,
    port: Annotated[int, Parameter(group=WHERE, validator=validators.Number(gte=0, lte=65_535))] = 0,
    prices: Annotated[list[str] | None, Parameter(consume_multiple=True, negative=(), group=WHAT)] = None,
    faults: Annotated[Path | None, Parameter(group=WHAT)] = None,
    tier: Annotated[Literal["starter", "intermediate", "pro", "none"], Parameter(group=WHAT)] = "starter",
    seed: Annotated[int, Parameter(group=WHAT, validator=validators.Number(gte=0))] = 0,
    speed: Annotated[int, Parameter(group=HOW_LONG, validator=validators.Number(gte=1, lte=1_000_000))] = 1,
    key: Annotated[str | None, Parameter(group=WHERE)] = None,
    secret: Annotated[str | None, Parameter(group=WHERE)] = None,
    config: Annotated[Path | None, Parameter(group=WHERE)] = None,
) -> int:
    """Be Kraken on a port of this machine: its REST and its websocket v2 on the mock's books, until told to stop.

    One line says where it listens. Under /mock/ it can be looked into and meddled with, from this machine only.

    Parameters
    ----------
    port
        Where to listen on 127.0.0.1; by default on any port that is free.
    prices
        SYMBOL=FILE for each symbol, random:SEED, or none for prices that are set through /mock/acts. They begin now.
    faults
        A file of JSON or YAML with a list of what goes wrong.
    tier
        Whose rate limits are kept: starter, intermediate, pro, or none for no limits.
    seed
        What faults with a probability are drawn from.
    speed
        How many times faster than the wall clock its clock runs.
    key
        The API key that it knows; by default one for paper, which it prints.
    secret
        The key's secret, in base64.
    config
        A directory with execution.yaml: the instruments, and what the account begins with.

    """
    from scripts.mock_exchange import Wanted, serve_with_keys  # noqa: PLC0415 - The other verbs do without it.

    return serve_with_keys(
        key,
        secret,
        Wanted(
            port=port,
            prices=tuple(prices or ("random:1",)),
            faults=faults,
            speed=speed,
            tier=tier,
            seed=seed,
            config=config,
        ),
    )


@app.command
def doctor(
    *,
    live: Annotated[bool, Parameter(group=WHAT, negative=())] = False,
    config: Annotated[Path | None, Parameter(group=WHERE)] = None,
    state: Annotated[Path, Parameter(group=WHERE)] = Path(".triplegain"),
    json: Annotated[bool, Parameter(group=OUTPUT, negative=())] = False,
) -> int:
    """Look whether everything is there that a run needs: one line for each thing, and what to do about it.

    Nothing is traded and nothing in the database is changed. Exit code 1 when something failed; warnings are fine.

    Parameters
    ----------
    live
        Ask the exchange too: clock, status, symbols, and with the key its rights, fees and margin.
    config
        A directory with execution.yaml and risk.yaml.
    state
        Where the embedded database lives; it is made if there is none. DATABASE_URL names another server instead.
    json
        Print one JSON object and nothing else.

    """
    from scripts.doctor import Wanted, examine  # noqa: PLC0415 - The other verbs do without it.

    return examine(Wanted(live=live, config=config, state=state, as_json=json))


def _verb() -> str:
    """Return the verb that was called, for whoever is told where to read on."""
    words = [
        word for word in sys.argv[1:2] if word in ("run", "simulate", "backup", "restore", "mock-exchange", "doctor")
    ]
    return words[0] if words else "run"


def main() -> None:
    """Run the command; a wrong word is one clear line and exit code 2."""
    try:
        result = app(exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as error:
        text = " ".join(str(error).split())
        print(f"triplegain: {text} (see triplegain {_verb()} --help)", file=sys.stderr)
        sys.exit(EXIT_USAGE)
    sys.exit(result if isinstance(result, int) else 0)


if __name__ == "__main__":
    main()
