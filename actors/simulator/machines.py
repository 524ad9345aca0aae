"""The machine as it is simulated: silent, and quick to say why it ended; and the exchange while the engine is away."""

from __future__ import annotations

from actors.system import Machine, parts
from persistence.protocol import JournalUnavailableError

EXCHANGE_ALONE = ("exchange", "market")


class SimulatedMachine(Machine):
    """All actors. Whatever fails ends it, restartable or not: in a simulation every failure is news."""

    is_without_database = False
    """Whether it ended because the database was away at its start: the supervisor starts it again."""

    def report_failure(self, role: str, error: BaseException) -> None:
        """End, and say what happened."""
        self.is_without_database = isinstance(error, JournalUnavailableError)
        self.stop(70, f"{role} failed: {type(error).__name__}: {error}")


class ExchangeAlone(SimulatedMachine):
    """The exchange and its prices, with nobody to listen."""

    def start(self) -> None:
        """Make these two and let the exchange open its books."""
        for part in parts(self._world, self):
            if part.actor_class.role in EXCHANGE_ALONE:
                self._make(part)
        self._connect()
        self.switchboard.hear_nothing_else()
        for actor in self.actors.values():
            actor.begin()
