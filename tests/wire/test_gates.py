"""Real money needs every gate open, live prices, and time as fast as everywhere; nothing begins before that."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path

import attrs
import pytest

from actors.market.sources import LIVE, PriceStream, open_prices
from config.settings import Settings, TradingMode
from scripts import trading
from scripts.arguments import Arguments
from scripts.live import LIVE_GATES, LiveError, refuse_unless_allowed
from scripts.trading import UsageError, refuse_contradictions
from scripts.triplegain import LIVE_PRICES, app
from tests.operations.command import run
from tests.wire.world import wire_settings

OPEN = {
    "TRIPLEGAIN_TRADING_MODE": "live",
    "TRIPLEGAIN_CONFIRM_LIVE_TRADING": "I_UNDERSTAND_THE_RISKS",
    "KRAKEN_API_KEY": "key-of-nobody",
    "KRAKEN_API_SECRET": "bm8gc2VjcmV0",
}
NAMED = {
    "TRIPLEGAIN_TRADING_MODE": "TRIPLEGAIN_TRADING_MODE=live",
    "TRIPLEGAIN_CONFIRM_LIVE_TRADING": "TRIPLEGAIN_CONFIRM_LIVE_TRADING=I_UNDERSTAND_THE_RISKS",
    "KRAKEN_API_KEY": "KRAKEN_API_KEY",
    "KRAKEN_API_SECRET": "KRAKEN_API_SECRET",
}
COMBINATIONS = [names for count in range(1, 5) for names in itertools.combinations(OPEN, count)]


@pytest.fixture(autouse=True)
def _no_gates(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in OPEN:
        monkeypatch.delenv(name, raising=False)


def live_settings(**kraken: str) -> Settings:
    settings = wire_settings(**kraken)
    return attrs.evolve(settings, execution=attrs.evolve(settings.execution, trading_mode=TradingMode.LIVE))


def opened(monkeypatch: pytest.MonkeyPatch, names: Sequence[str]) -> None:
    for name in names:
        monkeypatch.setenv(name, OPEN[name])


def refusal(settings: Settings) -> str:
    with pytest.raises(LiveError) as error:
        refuse_unless_allowed(settings)
    return str(error.value)


# The four gates -------------------------------------------------------------------------------------


def test_the_gates_are_these_four() -> None:
    assert [name for name, _wanted in LIVE_GATES] == list(OPEN)


@pytest.mark.parametrize("missing", COMBINATIONS, ids="+".join)
def test_every_gate_that_is_missing_is_named_and_no_other(
    monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...]
) -> None:
    opened(monkeypatch, [name for name in OPEN if name not in missing])

    wanted = ", ".join(NAMED[name] for name in missing)
    assert refusal(live_settings()) == f"trading_mode is live, but missing in the environment: {wanted}"


def test_with_all_four_open_it_may_begin(monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, list(OPEN))
    refuse_unless_allowed(live_settings())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *((name, "") for name in OPEN),
        ("TRIPLEGAIN_TRADING_MODE", "paper"),
        ("TRIPLEGAIN_TRADING_MODE", "LIVE"),
        ("TRIPLEGAIN_TRADING_MODE", " live"),
        ("TRIPLEGAIN_CONFIRM_LIVE_TRADING", "yes"),
        ("TRIPLEGAIN_CONFIRM_LIVE_TRADING", "i_understand_the_risks"),
    ],
)
def test_a_gate_that_says_something_else_is_closed(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    opened(monkeypatch, list(OPEN))
    monkeypatch.setenv(name, value)

    assert refusal(live_settings()).endswith(f": {NAMED[name]}")


def test_no_secret_is_in_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    opened(monkeypatch, ["KRAKEN_API_KEY", "KRAKEN_API_SECRET"])
    said = refusal(live_settings())

    assert OPEN["KRAKEN_API_KEY"] not in said
    assert OPEN["KRAKEN_API_SECRET"] not in said


@pytest.mark.parametrize("gates", [(), tuple(OPEN)])
def test_the_environment_alone_makes_nothing_live(monkeypatch: pytest.MonkeyPatch, gates: tuple[str, ...]) -> None:
    opened(monkeypatch, gates)
    settings = wire_settings()

    refuse_unless_allowed(settings)
    assert settings.execution.trading_mode is TradingMode.PAPER


# Prices and speed -----------------------------------------------------------------------------------


def arguments(*prices: str, speed: int | None = 1) -> Arguments:
    return Arguments(
        config=None,
        state=Path("nowhere"),
        prices=prices,
        speed=speed,
        proposals=None,
        demo=False,
        for_seconds=60,
        until_prices_end=False,
        report=None,
        log_json=False,
        log_level="INFO",
    )


def stream_of(*prices: str) -> PriceStream:
    return open_prices(prices, wire_settings().execution.instruments)


def test_live_prices_have_one_name() -> None:
    assert LIVE_PRICES == LIVE


def test_live_trading_wants_live_prices() -> None:
    with pytest.raises(UsageError, match="trading_mode is live: prices must be kraken, not random:1"):
        refuse_contradictions(arguments("random:1"), stream_of("random:1"), live_settings())

    refuse_contradictions(arguments("kraken"), stream_of("kraken"), live_settings())


@pytest.mark.parametrize("url", ["https://api.kraken.com", "https://api.kraken.com/", "https://API.Kraken.com:443"])
def test_at_kraken_itself_time_is_not_hurried(url: str) -> None:
    with pytest.raises(UsageError, match="--speed 2: at Kraken itself time goes as fast as everywhere"):
        refuse_contradictions(arguments("kraken", speed=2), stream_of("kraken"), live_settings(rest_url=url))


def test_at_an_exchange_of_ones_own_it_may_be() -> None:
    settings = live_settings(rest_url="http://127.0.0.1:8080")
    refuse_contradictions(arguments("kraken", speed=2), stream_of("kraken"), settings)


def test_live_prices_come_as_fast_as_they_come() -> None:
    with pytest.raises(UsageError, match="--speed max: prices kraken come as fast as they come"):
        refuse_contradictions(arguments("kraken", speed=None), stream_of("kraken"), wire_settings())


@pytest.mark.parametrize(
    ("words", "speed"),
    [((), 1), (("--prices", "kraken"), 1), (("--prices", "random:3"), 1), (("--prices", "BTC/USD=prices.csv"), None)],
)
def test_without_a_word_only_files_are_hurried(
    monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], speed: int | None
) -> None:
    asked: list[Arguments] = []

    def note(given: Arguments) -> int:
        asked.append(given)
        return 0

    monkeypatch.setattr(trading, "trade_until_done", note)

    app(["run", *words], result_action="return_value")

    assert [given.speed for given in asked] == [speed]


# The real command -----------------------------------------------------------------------------------


@pytest.fixture
def live(tmp_path: Path) -> Iterator[Path]:
    """Return a configuration that wants live trading, and see that nothing was begun with it."""
    directory = tmp_path / "config"
    directory.mkdir()
    (directory / "execution.yaml").write_text("trading_mode: live\n", encoding="utf-8")
    yield directory
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("missing", [tuple(OPEN), ("KRAKEN_API_SECRET",), ("TRIPLEGAIN_CONFIRM_LIVE_TRADING",)])
def test_the_command_names_the_gates_and_ends_with_2(tmp_path: Path, live: Path, missing: tuple[str, ...]) -> None:
    gates = {name: value for name, value in OPEN.items() if name not in missing}
    words = ("--prices", "kraken", "--config", str(live), "--state", str(tmp_path / "state"))
    result = run(*words, log=tmp_path / "run.log", **gates)

    assert (result.code, result.stdout) == (2, "")
    wanted = ", ".join(NAMED[name] for name in missing)
    assert result.line == f"triplegain: trading_mode is live, but missing in the environment: {wanted}"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--prices", "random:1"), "prices must be kraken, not random:1"),
        ((), "prices must be kraken, not random:1"),
        (("--prices", "kraken", "--speed", "20"), "--speed 20: at Kraken itself"),
        (("--prices", "kraken", "--speed", "max"), "--speed max: prices kraken come as fast as they come"),
    ],
)
def test_the_command_refuses_other_prices_and_other_speeds(
    tmp_path: Path, live: Path, words: tuple[str, ...], said: str
) -> None:
    result = run(
        *words, "--config", live, "--state", tmp_path / "state", "--for", "5", log=tmp_path / "run.log", **OPEN
    )

    assert (result.code, result.stdout) == (2, "")
    assert said in result.line


def test_a_deadline_that_outlives_our_patience_is_named_in_one_line(tmp_path: Path, live: Path) -> None:
    text = "trading_mode: live\norders: {deadline_s: 15}\n"
    (live / "execution.yaml").write_text(text, encoding="utf-8")
    words = ("--prices", "kraken", "--config", str(live), "--state", str(tmp_path / "state"))
    result = run(*words, log=tmp_path / "run.log", **OPEN)

    assert (result.code, result.stdout) == (2, "")
    assert "orders.deadline_s is 15, above kraken.order_timeout_s (12)" in result.line
