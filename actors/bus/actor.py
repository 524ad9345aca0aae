"""EventBusActor: puts committed events into the queues of those who asked for their topic."""

from __future__ import annotations

from types import TracebackType
from typing import assert_never

from actors.bus.subscription import BusReport, Subscription, report_of
from actors.runtime.ports import Ports
from actors.runtime.typed_actor import TypedActor, kinds
from config.settings import BusSettings
from messages.bus import EventsCommitted, NumberedEvent, Subscribe, Topic, Unsubscribe
from messages.protocols import EventBusInbox
from messages.risk import TradingStateChanged


class EventBusActor(TypedActor):
    """Knows the subscribers and calls none of them: each takes from its own queue when it likes.

    Restarted in place it knows nobody; the old subscriptions have ended, and their owners can see it.
    """

    role = "bus"
    accepts = kinds(EventBusInbox)
    emits = frozenset()

    def __init__(self, ports: Ports, *, settings: BusSettings) -> None:
        super().__init__(ports)
        self._capacity_max = settings.capacity_max
        self._subscriptions: dict[str, Subscription] = {}
        self._by_topic: dict[Topic, tuple[Subscription, ...]] = {}
        self._events = 0

    def on_receive(self, message: EventBusInbox) -> Subscription | None:
        """Fan out, subscribe or unsubscribe. The reply to an asked Subscribe is the Subscription."""
        match message:
            case EventsCommitted():
                self._fan_out(message.events)
            case Subscribe():
                return self._subscribe(message)
            case Unsubscribe():
                self._forget(message.name)
            case TradingStateChanged():
                pass  # The switchboard logs it. Subscribers hear of it once it is committed, as of everything.
            case _:
                assert_never(message)
        return None

    def describe(self) -> BusReport:
        """Return who hears what, and how well they keep up."""
        return BusReport(events=self._events, subscribers=tuple(map(report_of, self._subscriptions.values())))

    def on_stop(self) -> None:
        """Let the subscribers see that nothing more will come."""
        for subscription in self._subscriptions.values():
            subscription.end()

    def on_failure(
        self,
        exception_type: type[BaseException] | None,
        exception_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Let the subscribers see that nothing more will come, then report."""
        self.on_stop()
        super().on_failure(exception_type, exception_value, traceback)

    def _fan_out(self, events: tuple[NumberedEvent, ...]) -> None:
        self._events += len(events)
        for event in events:
            for subscription in self._by_topic.get(event.event.topic, ()):
                subscription.put(event)

    def _subscribe(self, wish: Subscribe) -> Subscription:
        if not 0 < wish.capacity <= self._capacity_max:
            raise ValueError(f"capacity of {wish.name} must be 1 to {self._capacity_max}, is {wish.capacity}")
        self._forget(wish.name)  # One name, one queue: who comes back takes the place of its dead self.
        subscription = Subscription(wish.name, wish.topics, wish.capacity)
        self._subscriptions[wish.name] = subscription
        self._index()
        return subscription

    def _forget(self, name: str) -> None:
        subscription = self._subscriptions.pop(name, None)
        if subscription is not None:
            subscription.end()
            self._index()

    def _index(self) -> None:
        everyone = self._subscriptions.values()
        self._by_topic = {topic: tuple(one for one in everyone if topic in one.topics) for topic in Topic}
