"""Every key counts, and every mistake is one line that says where it is and what to do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import attrs
import pytest
import yaml

from config.errors import ConfigurationError
from config.loader import FILES, PACKAGED, load_settings
from config.settings import ExecutionSettings, InstrumentSettings, RiskSettings, Settings, TradingMode
from messages.base import Currency, Symbol

CHANGED_WORDS = {
    "paper": "live",
    "main": "second",
    "shared": "threads",
    "GTD": "IOC",
    "false": "true",
    "stop-loss": "stop-loss-limit",
    "take-profit": "take-profit-limit",
    "starter": "pro",
    "https://api.kraken.com": "http://127.0.0.1:8080",
    "wss://ws.kraken.com/v2": "ws://127.0.0.1:8080",
}
CHANGED_NUMBERS = {
    "orders.protection_delay_ms": "7",
    "limits.leverage_max": "4",
    "rate_limits.orders_burst": "6",
    "paper.fill_share_pct": "99",
}


def leaves(node: yaml.Node, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], str]]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield from leaves(value, (*path, key.value))
    elif isinstance(node, yaml.ScalarNode):
        yield path, node.value


def every_leaf() -> list[Any]:
    found = []
    for file in FILES:
        tree = yaml.compose((PACKAGED / file).read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
        assert tree is not None
        found += [pytest.param(file, path, text, id=".".join(path)) for path, text in leaves(tree)]
    return found


def changed(path: tuple[str, ...], text: str) -> str:
    if text in CHANGED_WORDS:
        return CHANGED_WORDS[text]
    if ".".join(path) in CHANGED_NUMBERS:
        return CHANGED_NUMBERS[".".join(path)]
    if path[-1] == "leverage_max":
        return "3" if path[-2] != "BTC/USDT" else "10"
    if text.isdigit():
        return str(int(text) + 1)
    return str(Decimal(text) * 2)


def nested(path: tuple[str, ...], value: str) -> str:
    lines = [f"{'  ' * depth}{key}:" for depth, key in enumerate(path)]
    return "\n".join(lines) + f" {value}\n"


def given(directory: Path, text: str, file: str = "execution.yaml") -> Settings:
    (directory / file).write_text(text, encoding="utf-8")
    return load_settings(directory)


def refusal(directory: Path, text: str, file: str = "execution.yaml") -> str:
    with pytest.raises(ConfigurationError) as caught:
        given(directory, text, file)
    line = str(caught.value)
    assert "\n" not in line
    assert line.startswith(str(directory / file))
    return line.removeprefix(str(directory / file))


def test_the_packaged_files_say_what_the_classes_say() -> None:
    settings = load_settings()

    assert settings.execution == ExecutionSettings(instruments=settings.execution.instruments)
    assert settings.risk == RiskSettings()


def test_the_packaged_files_have_every_field() -> None:
    written = {".".join(path.values[1]) for path in every_leaf()}

    def fields(kind: type, prefix: str) -> Iterator[str]:
        for field in attrs.fields(attrs.resolve_types(kind)):
            if attrs.has(field.type):
                yield from fields(field.type, f"{prefix}{field.name}.")
            elif field.name not in {"instruments", "balances", "usd_equivalents"}:
                yield f"{prefix}{field.name}"

    wanted = {*fields(ExecutionSettings, ""), *fields(RiskSettings, "")}
    for symbol in ("BTC/USDT", "XRP/USDT", "XRP/BTC", "BTC/USD", "ETH/USDT"):
        wanted |= {*fields(InstrumentSettings, f"instruments.{symbol}.")}
    assert {name for name in written if not name.startswith("paper.balances")} == wanted


def test_every_key_has_a_comment() -> None:
    """Keys of the later instruments repeat those of the first; sections are explained above them."""
    for file in FILES:
        seen = set()
        for line in (PACKAGED / file).read_text(encoding="utf-8").splitlines():
            key = re.match(r" *([a-z_0-9]+): \S", line)
            if key and key[1] not in seen:
                seen.add(key[1])
                assert " # " in line, f"{file}: {line}"


@pytest.mark.parametrize(("file", "path", "text"), every_leaf())
def test_every_key_changes_the_settings(tmp_path: Path, file: str, path: tuple[str, ...], text: str) -> None:
    before = load_settings()

    after = given(tmp_path, nested(path, changed(path, text)), file)

    assert after != before


def test_keys_and_files_left_out_keep_their_defaults(tmp_path: Path) -> None:
    default = load_settings()

    settings = given(tmp_path, "orders:\n  poll_s: 7\ninstruments:\n  BTC/USDT:\n    fee_taker_pct: 0.40\n")

    assert settings.execution.orders == attrs.evolve(default.execution.orders, poll_s=7)
    instrument = settings.execution.instruments[Symbol("BTC/USDT")]
    assert instrument == attrs.evolve(default.execution.instruments[Symbol("BTC/USDT")], fee_taker_pct=Decimal("0.40"))
    assert settings.risk == default.risk


def test_a_pair_may_be_added_and_balances_are_replaced_whole(tmp_path: Path) -> None:
    text = (
        "instruments:\n  SOL/EUR: {price_tick_quote: 0.01, lot_step_base: 0.00000001, volume_min_base: 0.02, "
        "notional_min_quote: 0.45, leverage_max: 3, fee_maker_pct: 0.2, fee_taker_pct: 0.35}\n"
        "paper: {balances: {EUR: 1_000.50}}\n"
    )

    settings = given(tmp_path, text)

    assert settings.execution.instruments[Symbol("SOL/EUR")].base == "SOL"
    assert settings.execution.instruments[Symbol("SOL/EUR")].quote == "EUR"
    assert len(settings.execution.instruments) == 6
    assert settings.execution.paper.balances == {Currency("EUR"): Decimal("1000.50")}


def test_money_is_read_digit_by_digit(tmp_path: Path) -> None:
    text = "0.1000000000000000055511151231257827"

    settings = given(tmp_path, f"orders: {{slippage_pct: {text}}}")

    assert str(settings.execution.orders.slippage_pct) == text


def test_words_and_lists(tmp_path: Path) -> None:
    settings = given(tmp_path, "trading_mode: live\naccount: '7'\nusd_equivalents: [USDT]\n")

    assert settings.execution.trading_mode is TradingMode.LIVE
    assert settings.execution.account == "7"
    assert settings.execution.usd_equivalents == ("USDT",)


@pytest.mark.parametrize("text", ["", "# nothing\n", "orders:\n  # poll_s: 7\n", "---\n", "{}"])
def test_a_file_that_says_nothing_changes_nothing(tmp_path: Path, text: str) -> None:
    assert given(tmp_path, text) == load_settings()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("ordres: {}", ", line 1: ordres: unknown key; did you mean orders?"),
        ("\norders:\n  pol_s: 5", ", line 3: orders.pol_s: unknown key; did you mean poll_s?"),
        ("positions: {trailing: {distance: 2}}", ", line 1: positions.trailing.distance: unknown key; "),
        ("instruments: {BTC/USDT: {lots: 2}}", ", line 1: instruments.BTC/USDT.lots: unknown key; "),
        ("zzz: 1", "known here: trading_mode, account"),
        ("orders: 5", ", line 1: orders: must be a section"),
        ("orders: [5]", ", line 1: orders: must be a section"),
        ("[1]", ", line 1: must be a section"),
        ("instruments: 5", "instruments: must be a section"),
        ("paper: {balances: [5]}", "paper.balances: must be a section"),
        ("usd_equivalents: USD", "usd_equivalents: must be a list"),
        ("usd_equivalents: []", "usd_equivalents: Length of 'usd_equivalents' must be >= 1"),
        ("usd_equivalents: [usd]", "usd_equivalents.0: is 'usd'; it must be a currency"),
        ("orders: {poll_s: {a: 1}}", "orders.poll_s: must be one value, not a section"),
        ("orders: {poll_s: [1]}", "orders.poll_s: must be one value, not a list"),
        ("orders: {poll_s: }", "orders.poll_s: has no value"),
        ("orders: {poll_s: five}", "orders.poll_s: is 'five'; it must be a whole number"),
        ("orders: {poll_s: 5.0}", "orders.poll_s: is '5.0'; it must be a whole number"),
        ("orders: {poll_s: '5'}", "orders.poll_s: is '5'; it must be a whole number"),
        ("orders: {poll_s: true}", "orders.poll_s: is 'true'; it must be a whole number"),
        ("orders: {poll_s: .inf}", "orders.poll_s: is '.inf'; it must be a whole number"),
        ("orders: {poll_s: 9999999999999999999}", "orders.poll_s: is '9999999999999999999'; its size"),
        ("orders: {poll_s: -1}", "orders.poll_s: 'poll_s' must be > 0: -1"),
        ("orders: {deadline_s: 61}", "orders.deadline_s: 'deadline_s' must be <= 60: 61"),
        ("orders: {fee_pct: .nan}", "orders.fee_pct: is '.nan'; it must be a finite decimal number"),
        ("orders: {fee_pct: .inf}", "orders.fee_pct: is '.inf'; it must be a finite decimal number"),
        ("orders: {fee_pct: NaN}", "orders.fee_pct: is 'NaN'; it must be a finite decimal number"),
        ("orders: {fee_pct: true}", "orders.fee_pct: is 'true'; it must be a finite decimal number"),
        ("orders: {fee_pct: 0x10}", "orders.fee_pct: is '0x10'; it must be a finite decimal number"),
        ("orders: {fee_pct: -0.1}", "orders.fee_pct: 'fee_pct' must be >= 0: -0.1"),
        ("orders: {fee_pct: 1e400}", "orders.fee_pct: is '1e400'; its size"),
        ("orders: {fee_pct: 1e99999999999}", "orders.fee_pct: is '1e99999999999'; it must be a finite"),
        ("positions: {trailing: {enabled: 1}}", "positions.trailing.enabled: is '1'; it must be true or false"),
        ("positions: {trailing: {enabled: 'true'}}", "it must be true or false"),
        ("trading_mode: dry", "trading_mode: is 'dry'; it must be paper or live"),
        ("actors: {dispatcher: turbo}", "actors.dispatcher: 'dispatcher' must be in ('shared', 'threads')"),
        ("account: 5", "account: is 5; it must be text"),
        ("account: 'a b'", "account: 'account' must match regex"),
        ("paper: {balances: {USD: -1}}", "paper.balances.USD: is -1; it must not be negative"),
        ("paper: {balances: {USD: 1, USD: 2}}", "paper.balances.USD: stands twice"),
        ("paper: {balances: {dollar: 1}}", "paper.balances.dollar: is 'dollar'; it must be a currency"),
        ("paper: {balances: {EUR: 1}}", ": paper.balances.EUR: no instrument trades this currency"),
        ("instruments: {BTCUSDT: {}}", "instruments.BTCUSDT: is 'BTCUSDT'; it must be a pair such as BTC/USDT"),
        ("instruments: {SOL/USD: {leverage_max: 3}}", "instruments.SOL/USD: lacks price_tick_quote, "),
        ("instruments: {BTC/USD: {price_tick_quote: 0}}", "instruments.BTC/USD.price_tick_quote: "),
        ("instruments: {BTC/USD: {volume_min_base: 1e-9}}", ": instruments.BTC/USD.volume_min_base is 1E-9, below"),
        ("orders: {poll_s: 5, poll_s: 6}", "line 1: orders.poll_s: stands twice; leave one"),
        ("orders: {poll_s: 5}\norders: {poll_s: 5}", "line 2: orders: stands twice; leave one"),
        ("? [a]\n: 1", "a key must be plain text"),
        ("orders: {retry_first_ms: 40000}", ": orders.retry_longest_ms is 30000, below orders.retry_first_ms (40000)"),
        ("orders: {deadline_s: 13}", ": orders.deadline_s is 13, above kraken.order_timeout_s (12)"),
        ("kraken: {order_timeout_s: 9}", ": orders.deadline_s is 10, above kraken.order_timeout_s (9)"),
        ("orders: {silence_max_s: 1}", ": orders.silence_max_s is 1, below orders.poll_s (5)"),
        ("rate_limits: {orders_reserved: 5}", ": rate_limits.orders_reserved is 5, which leaves nothing"),
        (
            "rate_limits: {rest_points_reserved: 11}",
            ": rate_limits.rest_points_reserved is 11, which leaves too",
        ),
        ("rate_limits: {engine_points_reserved: 59}", ": rate_limits.engine_points_reserved is 59, which leaves too"),
        (
            "rate_limits: {kraken_tier: intermediate, engine_points_reserved: 122}",
            "of the 125 points of rate_limits.kraken_tier (intermediate) for opening",
        ),
        ("rate_limits: {kraken_tier: vip}", "rate_limits.kraken_tier: "),
        (
            "journal: {commit_timeout_s: 1}",
            ": journal.commit_timeout_s is 1, below journal.commit_slow_ms (2000)",
        ),
        ("journal: {waiting_max: 5}", ": journal.waiting_max is 5, below journal.group_max (512)"),
        (
            "kraken: {rest_url: 'http://api.kraken.com'}",
            "line 1: kraken.rest_url: is 'http://api.kraken.com': keys would ",
        ),
        (
            "kraken: {websocket_url: 'ws://192.0.2.1:8080'}",
            "unencrypted; begin it with wss://, or name this machine, such",
        ),
        (
            "kraken: {rest_url: 'ftp://127.0.0.1'}",
            "kraken.rest_url: must be an address such as https://api.kraken.com, ",
        ),
        ("kraken: {rest_url: 'https://me:secret@kraken.com'}", "kraken.rest_url: must be an address such as "),
        ("usd_equivalents: [USD, EUR]", ": usd_equivalents: no instrument trades EUR"),
        ("a: [1\nb: 2", ", line 2: not valid YAML: "),
        ("a: b: c", ", line 1: not valid YAML: "),
        ("\torders: 1", ", line 1: not valid YAML: "),
        ("a: *b", ", line 1: not valid YAML: "),
        ("a: 1\n---\nb: 2", "not valid YAML"),
        ("a: \x01", ": cannot be read: "),
    ],
)
def test_a_mistake_is_one_line_with_file_key_and_value(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("limits: {leverage_max: 6}", ": limits.leverage_max is 6, but no instrument allows more than 5"),
        ("limits: {leverage_max: 11}", "limits.leverage_max: 'leverage_max' must be <= 10: 11"),
        ("limits: {positions_per_symbol_max: 6}", ": limits.positions_per_symbol_max is 6, above"),
        ("orders: {}", "orders: unknown key"),
    ],
)
def test_the_risk_file_is_checked_as_well(tmp_path: Path, text: str, said: str) -> None:
    assert said in refusal(tmp_path, text, "risk.yaml")


@pytest.mark.parametrize(("file", "path", "text"), every_leaf())
def test_no_number_may_be_nan_and_no_key_misspelt(tmp_path: Path, file: str, path: tuple[str, ...], text: str) -> None:
    assert ".".join(path) in refusal(tmp_path, nested(path, "[.nan]"), file) or path == ("usd_equivalents",)
    misspelt = (*path[:-1], path[-1] + "x!")
    assert ".".join(misspelt) in refusal(tmp_path, nested(misspelt, text), file)
    if re.fullmatch(r"[0-9.]+", text):
        assert f"{'.'.join(path)}: is '.nan'" in refusal(tmp_path, nested(path, ".nan"), file)


def test_a_directory_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match="nowhere: no such configuration directory"):
        load_settings(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["excution.yaml", "execution.yml", "risks.yaml"])
def test_a_misspelt_file_is_not_silently_left_out(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("account: x")

    with pytest.raises(ConfigurationError, match=r"this file is not read; rename it to (execution|risk)\.yaml"):
        load_settings(tmp_path)


def test_an_empty_directory_is_the_packaged_settings(tmp_path: Path) -> None:
    (tmp_path / "notes.yaml").write_text("anything: 1")

    assert load_settings(tmp_path) == load_settings()


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "execution.yaml").write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigurationError, match=r"execution\.yaml: cannot be read"):
        load_settings(tmp_path)


def test_a_yaml_tag_runs_nothing(tmp_path: Path) -> None:
    assert "account" in refusal(tmp_path, "account: !!python/object/apply:os.getcwd []")


def test_deep_nesting_is_an_error_and_no_crash(tmp_path: Path) -> None:
    assert "execution" not in refusal(tmp_path, "a: " + "[" * 5000)
