"""All tables of the first release.

Money is NUMERIC without a scale, so that every Decimal comes back as it went in; instants are TIMESTAMPTZ.
Columns that follow from others (`is_over`, a position's prices and profit) are worked out by the inserting statement.
Every table carries `account`: several engines, each with its own account, may share a database.
"""

from __future__ import annotations

from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ACCOUNTS = """
CREATE TABLE accounts (
    account TEXT PRIMARY KEY,
    initial_balances JSONB,            -- what the account began with; NULL until it is known
    group_no BIGINT NOT NULL DEFAULT 0,  -- the last group committed: makes a repeated commit harmless
    event_no BIGINT NOT NULL DEFAULT 0,  -- the last place given in execution_events
    created_at TIMESTAMPTZ NOT NULL DEFAULT now()
) WITH (fillfactor = 50)
"""

RUNS = """
CREATE TABLE runs (
    account TEXT NOT NULL,
    number BIGINT NOT NULL,
    until TIMESTAMPTZ,                 -- when the run ends by itself, on the prices' clock
    arguments TEXT NOT NULL,
    started_at TIMESTAMPTZ NOT NULL DEFAULT now(),
    ended BOOLEAN NOT NULL DEFAULT false,  -- false on the newest run: it was killed
    ended_at TIMESTAMPTZ,
    PRIMARY KEY (account, number)
)
"""

TRADE_REQUESTS = """
CREATE TABLE trade_requests (
    account TEXT NOT NULL,
    id UUID NOT NULL,
    kind TEXT NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    symbol TEXT NOT NULL,
    body JSON NOT NULL,                -- JSON and not JSONB: the very text, whatever characters it escapes
    verdict TEXT NOT NULL,
    codes TEXT[] NOT NULL,
    reasons TEXT[] NOT NULL,
    number BIGINT GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (account, id)
);
CREATE INDEX trade_requests_newest ON trade_requests (account, number)
"""

ORDERS = """
CREATE TABLE orders (
    account TEXT NOT NULL,
    id UUID NOT NULL,
    proposal_id UUID NOT NULL,
    position_id UUID NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    role TEXT NOT NULL,
    order_type TEXT NOT NULL,
    intended_volume NUMERIC NOT NULL,
    limit_price NUMERIC,
    intended_trigger_price NUMERIC,
    reference_price NUMERIC NOT NULL,
    leverage INTEGER NOT NULL,
    reduce_only BOOLEAN NOT NULL,
    time_in_force TEXT NOT NULL,
    expires_at TIMESTAMPTZ,
    attempt INTEGER NOT NULL,
    created_at TIMESTAMPTZ NOT NULL,
    status TEXT NOT NULL,
    volume NUMERIC NOT NULL,           -- today's: an amend moves volume and trigger
    trigger_price NUMERIC,
    filled_volume NUMERIC NOT NULL,
    filled_cost NUMERIC NOT NULL,
    fees NUMERIC NOT NULL,
    external_id TEXT,
    opened_at TIMESTAMPTZ,
    first_fill_at TIMESTAMPTZ,
    updated_at TIMESTAMPTZ NOT NULL,
    ended_at TIMESTAMPTZ,
    retries INTEGER NOT NULL,
    reason TEXT NOT NULL,
    is_over BOOLEAN NOT NULL,
    PRIMARY KEY (account, id)
) WITH (fillfactor = 70);
CREATE INDEX orders_by_position ON orders (account, position_id);
CREATE INDEX orders_alive ON orders (account) WHERE NOT is_over
"""

ORDER_STATUS_LOG = """
CREATE TABLE order_status_log (
    account TEXT NOT NULL,
    order_id UUID NOT NULL,
    external_id TEXT,
    status TEXT NOT NULL,
    timestamp TIMESTAMPTZ NOT NULL,
    details JSONB NOT NULL,
    id BIGINT GENERATED ALWAYS AS IDENTITY,
    PRIMARY KEY (account, order_id, id)
);
COMMENT ON TABLE order_status_log IS 'Append-only: one row for every state an order was recorded in, never changed'
"""

FILLS = """
CREATE TABLE fills (
    account TEXT NOT NULL,
    trade_id TEXT NOT NULL,
    order_id UUID NOT NULL,
    external_order_id TEXT NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    price NUMERIC NOT NULL,
    volume NUMERIC NOT NULL,
    fee NUMERIC NOT NULL,
    fee_currency TEXT NOT NULL,
    is_maker BOOLEAN NOT NULL,
    is_liquidation BOOLEAN NOT NULL,
    at TIMESTAMPTZ NOT NULL,
    PRIMARY KEY (account, trade_id)
);
CREATE INDEX fills_by_order ON fills (account, order_id)
"""

POSITIONS = """
CREATE TABLE positions (
    account TEXT NOT NULL,
    id UUID NOT NULL,
    symbol TEXT NOT NULL,
    side TEXT NOT NULL,
    size NUMERIC NOT NULL,             -- own funds, in base units
    entry_price NUMERIC,
    leverage INTEGER NOT NULL,
    status TEXT NOT NULL,
    order_id UUID NOT NULL,
    stop_loss NUMERIC,
    take_profit NUMERIC,
    opened_at TIMESTAMPTZ NOT NULL,
    closed_at TIMESTAMPTZ,
    exit_price NUMERIC,
    realized_pnl NUMERIC,              -- net of fees; NULL until the position is over
    notes TEXT NOT NULL,
    proposal_id UUID NOT NULL,
    volume NUMERIC,           -- still held
    entry_volume NUMERIC NOT NULL,
    entry_cost NUMERIC NOT NULL,
    exit_volume NUMERIC NOT NULL,
    exit_cost NUMERIC NOT NULL,
    gross_pnl NUMERIC,                 -- before fees; NULL until the position is over
    fees NUMERIC NOT NULL,
    is_trailing BOOLEAN NOT NULL,
    watermark NUMERIC,
    stop_is_trailing BOOLEAN NOT NULL,
    protected_at TIMESTAMPTZ,
    close_reason TEXT,
    is_over BOOLEAN NOT NULL,
    PRIMARY KEY (account, id)
) WITH (fillfactor = 70);
CREATE INDEX positions_open ON positions (account) WHERE NOT is_over
"""

POSITION_SNAPSHOTS = """
CREATE TABLE position_snapshots (
    account TEXT NOT NULL,
    timestamp TIMESTAMPTZ NOT NULL,
    position_id UUID NOT NULL,
    symbol TEXT NOT NULL,
    current_price NUMERIC,             -- NULL while no price had been heard
    unrealized_pnl NUMERIC NOT NULL,
    unrealized_pnl_pct NUMERIC NOT NULL,
    PRIMARY KEY (account, timestamp, position_id)
) PARTITION BY RANGE (timestamp)
"""

EQUITY_SNAPSHOTS = """
CREATE TABLE equity_snapshots (
    account TEXT NOT NULL,
    timestamp TIMESTAMPTZ NOT NULL,
    equity NUMERIC NOT NULL,
    realized_pnl NUMERIC NOT NULL,
    unrealized_pnl NUMERIC NOT NULL,
    exposure NUMERIC NOT NULL,
    PRIMARY KEY (account, timestamp)
) PARTITION BY RANGE (timestamp)
"""

EXECUTION_EVENTS = """
CREATE TABLE execution_events (
    account TEXT NOT NULL,
    sequence BIGINT NOT NULL,
    topic TEXT NOT NULL,
    kind TEXT NOT NULL,
    priority SMALLINT NOT NULL,
    proposal_id UUID,
    at TIMESTAMPTZ NOT NULL,
    details JSONB NOT NULL,
    PRIMARY KEY (account, sequence, at)
) PARTITION BY RANGE (at)
"""

RISK_STATE = """
CREATE TABLE risk_state (
    account TEXT PRIMARY KEY,
    trading_state TEXT NOT NULL,
    halt_reason TEXT NOT NULL,
    losses_in_a_row INTEGER NOT NULL,
    wins_in_a_row INTEGER NOT NULL,
    cooldown_until TIMESTAMPTZ NOT NULL,
    cooldown_reason TEXT NOT NULL,
    realised_usd NUMERIC NOT NULL,
    updated_at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 50)
"""

PAPER_BOOKS = """
CREATE TABLE paper_documents (
    account TEXT NOT NULL,
    kind TEXT COLLATE "C" NOT NULL,
    key TEXT COLLATE "C" NOT NULL,
    body TEXT NOT NULL,
    PRIMARY KEY (account, kind, key)
) WITH (fillfactor = 70);
CREATE TABLE paper_progress (
    account TEXT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    at TIMESTAMPTZ NOT NULL
) WITH (fillfactor = 50)
"""

STEPS = (
    *(ACCOUNTS, RUNS, TRADE_REQUESTS, ORDERS, ORDER_STATUS_LOG, FILLS, POSITIONS),
    *(POSITION_SNAPSHOTS, EQUITY_SNAPSHOTS, EXECUTION_EVENTS, RISK_STATE, PAPER_BOOKS),
)
TABLES = (
    *("accounts", "runs", "trade_requests", "orders", "order_status_log", "fills", "positions"),
    *("position_snapshots", "equity_snapshots", "execution_events", "risk_state"),
    *("paper_documents", "paper_progress"),
)


def upgrade() -> None:
    """Create them."""
    for step in STEPS:
        for statement in step.split(";\n"):
            op.execute(statement)


REFUSE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM {table}) THEN
        RAISE EXCEPTION '{table} holds rows: this step is not taken back over them; back up, and empty it first';
    END IF;
END $$
"""


def downgrade() -> None:
    """Drop them, unless one holds anything: there is no step before that could keep it."""
    for table in TABLES:
        op.execute(REFUSE.format(table=table))
    for table in TABLES:
        op.execute(f"DROP TABLE {table}")
