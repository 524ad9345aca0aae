"""Draw the picture of the live view that stands in the README: a real run on random prices, in memory.

python -m scripts.draw_terminal [--width 100] [--height 32] [--seconds 1155] [FILE.svg]
"""

from __future__ import annotations

import asyncio
import os
import re
import time
from argparse import ArgumentParser
from decimal import Decimal
from io import StringIO
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import TerminalTheme

from actors.engine import Engine
from actors.exchange.mock.store import MemoryStore
from actors.market.sources import open_prices
from actors.runtime.clock import MICROSECONDS, SteppedClock
from actors.runtime.ids import seeded_ids
from actors.runtime.pacer import Pacer
from actors.system import World
from config.loader import load_settings
from persistence.memory import MemoryJournal
from scripts.demo import DemoStrategy
from scripts.logs import configure_logging
from scripts.view.lines import Size
from scripts.view.live import Lookout
from scripts.view.panels import Sight, draw

PICTURE = Path("docs/pictures/terminal.svg")
SEED = "4"
THEME = TerminalTheme(
    (16, 20, 27),
    (205, 211, 220),
    [(38, 44, 54), (240, 100, 100), (95, 200, 130), (229, 192, 100), (97, 160, 240), (205, 130, 225), (80, 190, 205),
     (205, 211, 220)],
    [(112, 122, 138), (255, 120, 120), (120, 225, 150), (245, 210, 120), (120, 180, 255), (225, 150, 245),
     (105, 215, 230), (255, 255, 255)],
)  # fmt: skip
FONT = "ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace"


async def look_at_a_run(seconds: int, run_to: int) -> Sight:
    """Trade for so long on the prices' clock and return what is to be seen just then; the end is at `run_to`."""
    settings = load_settings()
    execution = settings.execution
    stream = open_prices((f"random:{SEED}",), execution.instruments)
    journal = MemoryJournal()
    balances = await journal.open_account(execution.paper.balances)
    equity_start_usd = sum((balances.get(held, Decimal(0)) for held in execution.usd_equivalents), Decimal(0))
    engine = Engine(
        World(
            settings=settings,
            clock=SteppedClock(stream.starts_at_us),
            new_id=seeded_ids(SEED),
            journal=journal,
            equity_start_usd=equity_start_usd,
            book_store=MemoryStore(),
            is_repeatable=True,
        )
    )
    demo = DemoStrategy(
        settings=execution.demo,
        instruments=execution.instruments,
        usd_equivalents=execution.usd_equivalents,
        new_id=seeded_ids(f"demo {SEED}"),
        seed=SEED,
        tell=engine.tell,
    )
    engine.switchboard.tap(demo.listen)
    engine.start()
    await engine.until_quiet()
    ends_at_us = stream.starts_at_us + run_to * MICROSECONDS
    until_us = stream.starts_at_us + seconds * MICROSECONDS
    pacer = Pacer(engine=engine, ticks=stream.ticks, stop=asyncio.Event(), until_us=until_us)
    lookout = Lookout(
        engine=engine,
        pacer=pacer,
        settings=settings,
        speed=None,
        equity_start_usd=equity_start_usd,
        begins_at_us=stream.starts_at_us,
        ends_at_us=ends_at_us,
    )
    await lookout.begin({})
    lookout.look()
    running = asyncio.create_task(pacer.run())
    while not running.done():
        await asyncio.sleep(0)
        lookout.look()
    await running
    sight = lookout.look()
    await engine.close()
    return sight


def picture(sight: Sight, size: Size) -> str:
    """Return the frame as SVG that needs no font from elsewhere."""
    console = Console(
        record=True,
        width=size.width,
        height=size.height,
        file=StringIO(),
        force_terminal=True,
        color_system="truecolor",
    )
    console.print(draw(sight, size), end="")
    svg = console.export_svg(title="triplegain run", theme=THEME, unique_id="terminal")
    svg = re.sub(r"@font-face \{.*?\}", "", svg, flags=re.DOTALL).replace("Fira Code, monospace", FONT)
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def main() -> None:
    """Draw and save."""
    parser = ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", nargs="?", type=Path, default=PICTURE)
    parser.add_argument("--width", type=int, default=100)
    parser.add_argument("--height", type=int, default=32)
    parser.add_argument("--seconds", type=int, default=1_155, help="how long to trade, on the prices' clock")
    parser.add_argument("--of", type=int, default=1_800, help="the end that the progress bar shows")
    arguments = parser.parse_args()
    os.environ["TZ"] = "UTC"
    time.tzset()
    configure_logging(as_json=False, level="CRITICAL", stream=StringIO())
    sight = asyncio.run(look_at_a_run(arguments.seconds, arguments.of))
    arguments.file.parent.mkdir(parents=True, exist_ok=True)
    size = Size(width=arguments.width, height=arguments.height)
    arguments.file.write_text(picture(sight, size), encoding="utf-8")
    print(arguments.file)


if __name__ == "__main__":
    main()
