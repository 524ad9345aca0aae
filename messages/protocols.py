"""Who hears what, and who says what: the whole flow on one page.

The type is the address; nobody holds a reference to a peer. `actors/system.py` hands these to the switchboard,
and the message-flow diagram in the docs is drawn from them.
"""

from __future__ import annotations

from messages.bus import EventsCommitted, Subscribe, Unsubscribe
from messages.exchange import AccountReported, CompareAccount, ExchangeAlert, GetAccount, InstrumentsReported
from messages.journal import (
    IntentRecorded,
    JournalLoaded,
    JournalResumed,
    JournalStalled,
    LoadJournal,
    RecordAlert,
    RecordFill,
    RecordIntent,
    RecordOrder,
    RecordPosition,
    RecordRequest,
    RecordRiskState,
    RecordSnapshots,
    RecordStanding,
)
from messages.lifecycle import (
    ActorFailed,
    DrainEngine,
    EngineDrained,
    EngineReady,
    ExchangeRefusesUs,
    OrdersReconciled,
    StartEngine,
    StopOpening,
)
from messages.market import GetPrice, PriceMoved, PriceReported, Tick
from messages.orders import (
    AmendOrder,
    AmendRefused,
    CancelOrder,
    CancelRefused,
    ExecutionReported,
    LookUpOrder,
    OrderAccepted,
    OrderAmended,
    OrderEnded,
    OrderFound,
    OrderNotFound,
    OrderRefused,
    OrdersPolled,
    OutcomeUnknown,
    PlaceOrder,
    PollOrders,
)
from messages.permits import CallGranted, CallsThrottled, PermitExpired, PermitGranted, RequestCall, RequestPermit
from messages.positions import (
    ApplyFill,
    BeginClosing,
    BookReported,
    ClosePosition,
    ConfirmProtection,
    GetBook,
    LevelReached,
    MoveStop,
    PositionChanged,
)
from messages.risk import SetTradingState, TradingStateChanged
from messages.trades import (
    CancelTrade,
    ChangeProtection,
    CloseTrade,
    ExecuteTrade,
    RejectRequest,
    ReviewTrade,
    TradeApproved,
    TradeEnded,
    TradeRejected,
)

# A strategy says ExecuteTrade, CancelTrade, CloseTrade, ChangeProtection; its reader says RejectRequest.
FromStrategy = ExecuteTrade | CancelTrade | CloseTrade | ChangeProtection | RejectRequest

# What the exchange answers, Kraken or mock.
FromExchange = (
    OrderAccepted
    | OrderRefused
    | OutcomeUnknown
    | ExecutionReported
    | OrderEnded
    | CancelRefused
    | OrderAmended
    | AmendRefused
    | OrderFound
    | OrderNotFound
    | OrdersPolled
)

# What may be committed.
ToJournal = (
    RecordRequest
    | RecordIntent
    | RecordOrder
    | RecordFill
    | RecordPosition
    | RecordRiskState
    | RecordStanding
    | RecordAlert
    | RecordSnapshots
)

OrderInbox = (
    FromStrategy
    | FromExchange
    | AccountReported
    | CompareAccount
    | InstrumentsReported
    | PriceReported
    | TradeApproved
    | TradeRejected
    | IntentRecorded
    | PermitGranted
    | PermitExpired
    | PositionChanged
    | LevelReached
    | ClosePosition
    | TradingStateChanged
    | JournalLoaded
    | JournalStalled
    | JournalResumed
    | EngineReady
    | StopOpening
)
OrderOutbox = (
    GetPrice
    | ReviewTrade
    | TradeEnded
    | RecordRequest
    | RecordIntent
    | RecordOrder
    | RecordStanding
    | RecordAlert
    | RequestPermit
    | PlaceOrder
    | AmendOrder
    | CancelOrder
    | LookUpOrder
    | PollOrders
    | GetAccount
    | ApplyFill
    | BeginClosing
    | ConfirmProtection
    | MoveStop
    | OrdersReconciled
)

PositionInbox = PriceMoved | ApplyFill | BeginClosing | ConfirmProtection | MoveStop | GetBook | JournalLoaded
PositionOutbox = (
    PositionChanged | LevelReached | ClosePosition | RecordFill | RecordPosition | RecordRequest | BookReported
)

RiskInbox = ReviewTrade | TradeEnded | PositionChanged | BookReported | SetTradingState | JournalLoaded
RiskOutbox = TradeApproved | TradeRejected | RecordRiskState | TradingStateChanged

RateLimiterInbox = RequestPermit | RequestCall | CallsThrottled
RateLimiterOutbox = PermitGranted | PermitExpired | CallGranted

SnapshotInbox = BookReported | EngineReady | StopOpening
SnapshotOutbox = GetBook | RecordSnapshots

JournalInbox = ToJournal | LoadJournal
JournalOutbox = IntentRecorded | EventsCommitted | JournalLoaded | JournalStalled | JournalResumed

ExchangeInbox = PlaceOrder | AmendOrder | CancelOrder | LookUpOrder | PollOrders | GetAccount
ExchangeOutbox = FromExchange | AccountReported | ExchangeAlert
MockExchangeInbox = ExchangeInbox | PriceMoved | StopOpening
KrakenInbox = ExchangeInbox | CallGranted | StopOpening
KrakenOutbox = ExchangeOutbox | RequestCall | CallsThrottled | InstrumentsReported | ExchangeRefusesUs

MarketInbox = Tick | GetPrice
MarketOutbox = PriceMoved | PriceReported

EventBusInbox = EventsCommitted | Subscribe | Unsubscribe | TradingStateChanged

SupervisorInbox = (
    StartEngine
    | JournalLoaded
    | OrdersReconciled
    | AccountReported
    | DrainEngine
    | EngineDrained
    | ActorFailed
    | ExchangeAlert
    | ExchangeRefusesUs
    | JournalStalled
)
SupervisorOutbox = LoadJournal | GetAccount | RecordAlert | EngineReady | StopOpening | EngineDrained
