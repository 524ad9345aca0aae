"""When an account began, on its own clock: where no execution is known, trades are asked for since then.

An account from before this step began no later than the oldest thing that is known of it; one of which nothing is
known stays without an instant, and gets one at its next start.
"""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

ADD = "ALTER TABLE accounts ADD COLUMN opened_at TIMESTAMPTZ"
FILL_IN = """
UPDATE accounts AS a SET opened_at = least(
    (SELECT min(created_at) FROM orders AS o WHERE o.account = a.account),
    (SELECT min(at) FROM trade_requests AS r WHERE r.account = a.account),
    (SELECT min(timestamp) FROM equity_snapshots AS s WHERE s.account = a.account)
)
"""


def upgrade() -> None:
    """Add the instant, and work it out for accounts that are there."""
    op.execute(ADD)
    op.execute(FILL_IN)


def downgrade() -> None:
    """Forget it: the step before lived without, and nothing else is lost."""
    op.execute("ALTER TABLE accounts DROP COLUMN opened_at")
