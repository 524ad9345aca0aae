"""The settings, typed. Names carry the units: `_s` seconds, `_ms` milliseconds, `_pct` per cent, `_usd` account money.

The YAML files have one key for each field; `loader.py` reads them. Read in order: Settings, then what it is made of.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from enum import Enum

import attrs
from attrs.validators import ge, gt, in_, le, matches_re, min_len

from config.addresses import rest_address, websocket_address
from messages.base import Currency, Symbol
from messages.market import Instrument

NOT_NEGATIVE = ge(0)
POSITIVE = gt(0)


class TradingMode(Enum):
    """Whose money it is."""

    PAPER = "paper"
    LIVE = "live"


@attrs.frozen(kw_only=True)
class ActorSettings:
    """How the actors are run."""

    dispatcher: str = attrs.field(default="shared", validator=in_(("shared", "threads")))
    restarts_max: int = attrs.field(default=3, validator=NOT_NEGATIVE)
    restart_window_s: int = attrs.field(default=60, validator=POSITIVE)


@attrs.frozen(kw_only=True)
class OrderSettings:
    """How orders are made, watched and given up."""

    fee_pct: Decimal = attrs.field(default=Decimal("0.26"), validator=[ge(Decimal(0)), le(Decimal(10))])
    """Held back from the volume when an order is sized."""
    slippage_pct: Decimal = attrs.field(default=Decimal("0.5"), validator=[ge(Decimal(0)), le(Decimal(10))])
    """How far a market entry may run from the reference price."""
    default_time_in_force: str = attrs.field(default="GTD", validator=in_(("GTC", "GTD", "IOC")))
    """For limit entries. GTD lets the exchange itself end them after `expiry_s`."""
    expiry_s: int = attrs.field(default=86_400, validator=POSITIVE)
    """After this a limit entry is EXPIRED, by us where the exchange does not do it."""
    deadline_s: int = attrs.field(default=10, validator=[ge(2), le(60)])
    """After this the exchange must no longer take an order that was under way."""
    settle_lag_s: int = attrs.field(default=60, validator=NOT_NEGATIVE)
    """How far the exchange's own records may lag: absence is believed only after deadline plus this."""
    look_up_every_s: int = attrs.field(default=5, validator=POSITIVE)
    """How often an order of unknown outcome is looked for."""
    poll_s: int = attrs.field(default=5, validator=POSITIVE)
    """How often live orders are compared with the exchange."""
    silence_max_s: int = attrs.field(default=3_600, validator=POSITIVE)
    """An order without any news for so long is queried by itself and reported; it is never dropped."""
    permit_wait_max_s: int = attrs.field(default=60, validator=POSITIVE)
    """An entry that may not leave for so long is given up; protecting and closing wait as long as it takes."""
    retries_max: int = attrs.field(default=3, validator=NOT_NEGATIVE)
    """New attempts after a refusal that may be retried."""
    retry_first_ms: int = attrs.field(default=1_000, validator=POSITIVE)
    """Wait before the first retry; it doubles each time."""
    retry_longest_ms: int = attrs.field(default=30_000, validator=POSITIVE)
    stop_order_type: str = attrs.field(default="stop-loss", validator=in_(("stop-loss", "stop-loss-limit")))
    """A stop-loss sells at market once triggered; a stop-loss-limit may be left behind by a fast price."""
    target_order_type: str = attrs.field(default="take-profit", validator=in_(("take-profit", "take-profit-limit")))
    trigger_limit_pct: Decimal = attrs.field(default=Decimal("0.5"), validator=[ge(Decimal(0)), le(Decimal(10))])
    """How far the limit of a stop-loss-limit or take-profit-limit lies beyond its trigger."""
    protection_delay_ms: int = attrs.field(default=0, validator=[ge(0), le(1_000)])
    """Wait between a fill and the orders that protect it."""
    protection_grace_s: int = attrs.field(default=30, validator=POSITIVE)
    """A position whose stop could not be placed for so long is closed."""
    local_watch_grace_ms: int = attrs.field(default=2_000, validator=NOT_NEGATIVE)
    """How long a resting order may take to act on a price that we saw reach it, before we act ourselves."""
    history_max: int = attrs.field(default=1_000, validator=POSITIVE)
    """Orders that are over and still in memory."""
    adopt_external: bool = False
    """Whether positions on margin that others have opened on the account become ours."""


@attrs.frozen(kw_only=True)
class TrailingSettings:
    """How a trailing stop follows. It never loosens."""

    enabled: bool = False
    """Whether positions trail that did not ask for it."""
    activation_pct: Decimal = attrs.field(default=Decimal(1), validator=gt(Decimal(0)))
    distance_pct: Decimal = attrs.field(default=Decimal("1.5"), validator=[gt(Decimal(0)), le(Decimal(50))])
    move_every_s: int = attrs.field(default=15, validator=POSITIVE)
    """The resting stop is moved at most so often; in between the local watch covers the difference."""


@attrs.frozen(kw_only=True)
class PositionSettings:
    """How positions are followed."""

    holding_max_s: int = attrs.field(default=172_800, validator=POSITIVE)
    history_max: int = attrs.field(default=1_000, validator=POSITIVE)
    """Closed positions that are still in memory."""
    trailing: TrailingSettings = attrs.field(factory=TrailingSettings)


@attrs.frozen(kw_only=True)
class RateLimitSettings:
    """When calls may leave."""

    api_per_minute: int = attrs.field(default=60, validator=POSITIVE)
    api_burst: int = attrs.field(default=10, validator=POSITIVE)
    orders_per_minute: int = attrs.field(default=30, validator=POSITIVE)
    orders_burst: int = attrs.field(default=5, validator=POSITIVE)
    orders_reserved: int = attrs.field(default=2, validator=NOT_NEGATIVE)
    """Order tokens that only protecting, closing and cancelling may take."""
    kraken_tier: str = attrs.field(default="starter", validator=in_(("starter", "intermediate", "pro", "none")))
    """Whose limits Kraken's own counters are reckoned with; `none` reckons with none."""
    rest_points_reserved: int = attrs.field(default=5, validator=NOT_NEGATIVE)
    """Points of the REST counter that only protecting, closing and cancelling may use."""
    engine_points_reserved: int = attrs.field(default=24, validator=NOT_NEGATIVE)
    """Points of each pair's engine counter that only protecting, closing and cancelling may use."""


@attrs.frozen(kw_only=True)
class SnapshotSettings:
    """When the book is photographed."""

    every_s: int = attrs.field(default=60, validator=POSITIVE)
    ring_max: int = attrs.field(default=10_000, validator=POSITIVE)
    """Photographs kept in memory."""
    write_every: int = attrs.field(default=1, validator=POSITIVE)
    """Photographs written together; a replay at full speed writes at least 60 together."""


@attrs.frozen(kw_only=True)
class JournalSettings:
    """How commits are grouped and how long the database is waited for."""

    group_max: int = attrs.field(default=512, validator=POSITIVE)
    retry_ms: int = attrs.field(default=1_000, validator=POSITIVE)
    commit_slow_ms: int = attrs.field(default=2_000, validator=POSITIVE)
    """A commit without an answer for so long counts as an outage: entries wait, protection and exits do not."""
    commit_timeout_s: int = attrs.field(default=30, validator=POSITIVE)
    """A server that says nothing for so long is treated as lost, and connected to anew."""
    account_wait_s: int = attrs.field(default=0, validator=NOT_NEGATIVE)
    """How long a start waits for another engine to give up the account, besides the moment a killed one needs."""
    waiting_max: int = attrs.field(default=100_000, validator=POSITIVE)
    """Units that may wait while the database is away; one more stops the engine, nothing is dropped."""
    retention_months: int = attrs.field(default=24, validator=POSITIVE)
    """Older partitions of snapshots and events are dropped at start."""


@attrs.frozen(kw_only=True)
class BusSettings:
    """Who hears how much."""

    capacity_max: int = attrs.field(default=10_000, validator=POSITIVE)
    """The longest queue that a subscriber may ask for."""


def _default_balances() -> Mapping[Currency, Decimal]:
    return {Currency("USDT"): Decimal(50_000), Currency("USD"): Decimal(50_000)}


@attrs.frozen(kw_only=True)
class PaperSettings:
    """The exchange that paper trading trades on."""

    balances: Mapping[Currency, Decimal] = attrs.field(factory=_default_balances)
    acknowledge_delay_ms: int = attrs.field(default=0, validator=NOT_NEGATIVE)
    """From receiving an order to answering."""
    fill_delay_ms: int = attrs.field(default=0, validator=NOT_NEGATIVE)
    """From matching to reporting the execution."""
    slippage_pct: Decimal = attrs.field(default=Decimal(0), validator=[ge(Decimal(0)), le(Decimal(10))])
    """How much worse than the last price a market order fills."""
    fill_share_pct: Decimal = attrs.field(default=Decimal(100), validator=[gt(Decimal(0)), le(Decimal(100))])
    """Which share of an order one tick fills at most."""
    liquidation_level_pct: Decimal = attrs.field(default=Decimal(40), validator=gt(Decimal(0)))
    """Margin level (equity over used margin) at which the exchange closes positions."""


@attrs.frozen(kw_only=True)
class KrakenSettings:
    """The exchange that live trading trades on."""

    rest_url: str = attrs.field(default="https://api.kraken.com", validator=rest_address)
    """Host and port; the paths are Kraken's own. Without encryption only on this machine."""
    websocket_url: str = attrs.field(default="wss://ws.kraken.com/v2", validator=websocket_address)
    """Public prices. Private messages come from the same place, but for Kraken's own, which is `ws-auth`."""
    order_timeout_s: int = attrs.field(default=12, validator=POSITIVE)
    """How long the answer to an order is waited for; not shorter than its deadline."""
    query_timeout_s: int = attrs.field(default=5, validator=POSITIVE)
    """How long any other answer is waited for; an order waits behind it."""
    quiet_max_s: int = attrs.field(default=6, validator=[ge(2), le(10)])
    """A line on which nothing comes for so long is opened anew."""
    reconcile_s: int = attrs.field(default=60, validator=POSITIVE)
    """How often books and account are compared, and trades are asked for although none is missing."""
    refresh_s: int = attrs.field(default=86_400, validator=POSITIVE)
    """How often decimals, minimums and fees are asked for."""
    dead_man_s: int = attrs.field(default=0, validator=[NOT_NEGATIVE, le(86_399)])
    """After so long without a word from us Kraken cancels every order, protective stops too; 0 never."""


@attrs.frozen(kw_only=True)
class DemoSettings:
    """What the demonstration strategy hands in."""

    every_s: int = attrs.field(default=20, validator=POSITIVE)
    size_usd: Decimal = attrs.field(default=Decimal(500), validator=gt(Decimal(0)))
    stop_pct: Decimal = attrs.field(default=Decimal("0.8"), validator=gt(Decimal(0)))
    target_pct: Decimal = attrs.field(default=Decimal("1.4"), validator=gt(Decimal(0)))


@attrs.frozen(kw_only=True)
class InstrumentSettings:
    """What the file says of one pair; the pair itself is the key. Used until the exchange tells its own figures."""

    price_tick_quote: Decimal = attrs.field(validator=gt(Decimal(0)))
    lot_step_base: Decimal = attrs.field(validator=gt(Decimal(0)))
    volume_min_base: Decimal = attrs.field(validator=gt(Decimal(0)))
    notional_min_quote: Decimal = attrs.field(validator=ge(Decimal(0)))
    leverage_max: int = attrs.field(validator=[ge(1), le(10)])
    fee_maker_pct: Decimal = attrs.field(validator=[ge(Decimal(0)), le(Decimal(10))])
    fee_taker_pct: Decimal = attrs.field(validator=[ge(Decimal(0)), le(Decimal(10))])

    def named(self, symbol: Symbol) -> Instrument:
        """Return the instrument of this pair."""
        base, _slash, quote = symbol.partition("/")
        return Instrument(
            symbol=symbol, base=Currency(base), quote=Currency(quote), **attrs.asdict(self, recurse=False)
        )


@attrs.frozen(kw_only=True)
class ExecutionSettings:
    """`execution.yaml`."""

    trading_mode: TradingMode = TradingMode.PAPER
    account: str = attrs.field(default="main", validator=matches_re(r"[A-Za-z0-9_.-]{1,64}"))
    instruments: Mapping[Symbol, Instrument]
    usd_equivalents: tuple[Currency, ...] = attrs.field(
        default=(Currency("USD"), Currency("USDT")), validator=min_len(1)
    )
    """Currencies that count as account money one to one."""
    actors: ActorSettings = attrs.field(factory=ActorSettings)
    orders: OrderSettings = attrs.field(factory=OrderSettings)
    positions: PositionSettings = attrs.field(factory=PositionSettings)
    rate_limits: RateLimitSettings = attrs.field(factory=RateLimitSettings)
    snapshots: SnapshotSettings = attrs.field(factory=SnapshotSettings)
    journal: JournalSettings = attrs.field(factory=JournalSettings)
    bus: BusSettings = attrs.field(factory=BusSettings)
    paper: PaperSettings = attrs.field(factory=PaperSettings)
    kraken: KrakenSettings = attrs.field(factory=KrakenSettings)
    demo: DemoSettings = attrs.field(factory=DemoSettings)

    def in_account_money(self, balances: Mapping[Currency, Decimal]) -> Decimal:
        """Return what of these balances is account money as it stands; other currencies need a price and count 0."""
        return sum((balances.get(currency, Decimal(0)) for currency in self.usd_equivalents), Decimal(0))


@attrs.frozen(kw_only=True)
class LimitSettings:
    """How much may be open at once."""

    positions_per_symbol_max: int = attrs.field(default=2, validator=POSITIVE)
    positions_total_max: int = attrs.field(default=5, validator=POSITIVE)
    exposure_max_pct: Decimal = attrs.field(default=Decimal(80), validator=gt(Decimal(0)))
    """Notional of all positions and reservations, of equity."""
    leverage_max: int = attrs.field(default=5, validator=[ge(1), le(10)])


@attrs.frozen(kw_only=True)
class CooldownSettings:
    """How long openings pause after results. 0 switches one off."""

    after_win_s: int = attrs.field(default=0, validator=NOT_NEGATIVE)
    after_loss_s: int = attrs.field(default=600, validator=NOT_NEGATIVE)
    after_3_losses_s: int = attrs.field(default=1_800, validator=NOT_NEGATIVE)
    after_5_losses_s: int = attrs.field(default=3_600, validator=NOT_NEGATIVE)


@attrs.frozen(kw_only=True)
class RiskSettings:
    """`risk.yaml`."""

    limits: LimitSettings = attrs.field(factory=LimitSettings)
    cooldowns: CooldownSettings = attrs.field(factory=CooldownSettings)


@attrs.frozen(kw_only=True)
class Settings:
    """Everything that can be configured."""

    execution: ExecutionSettings
    risk: RiskSettings = attrs.field(factory=RiskSettings)
