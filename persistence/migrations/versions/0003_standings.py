"""How account and books stood to each other, symbol by symbol: what others hold on margin, and what was unexplained.

Of accounts from before this step nothing was written down: nothing is known to be others', and nothing differs.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STANDINGS = """
CREATE TABLE standings (
    account TEXT NOT NULL,
    symbol TEXT NOT NULL,
    external_volume NUMERIC NOT NULL,
    is_stale BOOLEAN NOT NULL,
    differs TEXT NOT NULL,
    PRIMARY KEY (account, symbol)
) WITH (fillfactor = 70)
"""
REFUSE = """
DO $$ BEGIN
    IF EXISTS (SELECT FROM standings) THEN
        RAISE EXCEPTION 'standings holds rows: this step is not taken back over them; back up, and empty it first';
    END IF;
END $$
"""


def upgrade() -> None:
    """Create the table."""
    op.execute(STANDINGS)


def downgrade() -> None:
    """Drop it, unless it holds anything: the step before could not keep it."""
    op.execute(REFUSE)
    op.execute("DROP TABLE standings")
