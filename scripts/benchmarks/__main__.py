"""`python -m scripts.benchmarks [NAME ...]`: run the benchmarks, one JSON object a line on stdout.

Read in order: BENCHMARKS, main().
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Annotated

from cyclopts import App, Parameter

from scripts.benchmarks import (
    durable_trades,
    intent_latency,
    memory,
    order_round_trip,
    quiet_tick,
    replay,
    takeover,
    whole_trade,
)
from scripts.benchmarks.figures import Outcome, note
from scripts.benchmarks.options import Options
from scripts.benchmarks.stage import quiet_logs

BENCHMARKS: Mapping[str, Callable[[Options], Awaitable[Outcome]]] = {
    # The numbers are the aims' in docs/performance.md.
    "intent_latency": intent_latency.measure,  # 1
    "durable_trades": durable_trades.measure,  # 2
    "whole_trade": whole_trade.measure,  # 3
    "quiet_tick": quiet_tick.measure,  # 4
    "replay": replay.measure,  # 5
    "memory": memory.measure,  # 7
    "takeover": takeover.measure,
    "order_round_trip": order_round_trip.measure,
}

app = App(name="bench", help="Measure the engine against its aims. One JSON object a line.", version_flags=[])


@app.default
def main(
    *names: str,
    list: Annotated[bool, Parameter(negative=())] = False,  # noqa: A002 - The option's own name.
    runs: int = 1,
    prices: str | None = None,
    proposals: Path | None = None,
    tiny: Annotated[bool, Parameter(negative=(), show=False)] = False,
) -> int:
    """Run the benchmarks of these names, all without any.

    Parameters
    ----------
    names
        Which benchmarks.
    list
        Only say which there are.
    runs
        How often each is run; a line for each run.
    prices
        SYMBOL=FILE for the replay; 180,000 random ticks without it.
    proposals
        A file of proposals for the replay; 200 made for the prices without it.
    tiny
        The smallest sizes, to see that everything works.

    """
    if list:
        print("\n".join(BENCHMARKS))
        return 0
    unknown = [name for name in names if name not in BENCHMARKS]
    if unknown:
        note(f"unknown: {', '.join(unknown)}; known: {', '.join(BENCHMARKS)}")
        return 2
    quiet_logs()
    options = Options(tiny=tiny, prices=prices, proposals=proposals)
    for name in names or BENCHMARKS:
        for _ in range(runs):
            note(name)
            print(asyncio.run(_measured(name, options)).as_json(), flush=True)
    return 0


async def _measured(name: str, options: Options) -> Outcome:
    return await BENCHMARKS[name](options)


if __name__ == "__main__":
    app()
