"""Fresh ids: random in production, from a seed in a replay, so that the same run writes the same rows."""

from __future__ import annotations

import random
import uuid
from collections.abc import Callable


def random_ids() -> Callable[[], str]:
    """Return a source of random UUIDs (version 4) as canonical text."""
    return lambda: str(uuid.uuid4())


def seeded_ids(seed: str) -> Callable[[], str]:
    """Return a source of UUIDs that says the same for the same seed, on every machine.

    The seed must name the run: a resumed replay must not repeat the ids of the run before it.
    """
    bits = random.Random(seed).getrandbits  # noqa: S311 - ids to tell rows apart, no secret.

    def new_id() -> str:
        text = f"{bits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"

    return new_id
