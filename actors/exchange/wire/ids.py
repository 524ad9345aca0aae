"""Ids in Kraken's form for the books' own counted ones, and back: nothing needs to be remembered for it.

A number is scrambled within 80 bits, one to one, and written in 16 letters and digits behind an O or a T.
"""

from __future__ import annotations

import re

ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567"
BITS_PER_SIGN = 5
SIGNS = 16
SPACE = 1 << (BITS_PER_SIGN * SIGNS)
FACTOR = 0x9E37_79B9_7F4A_7C15_F39D
UNDO = pow(FACTOR, -1, SPACE)
OFFSETS = {"O": 0x2545_F491_4F6C_DD1D_5851, "T": 0xD1B5_4A32_D192_ED03_1405}
FORM = re.compile(r"([OT])([A-Z2-7]{5})-([A-Z2-7]{5})-([A-Z2-7]{6})")


def written(counted: str) -> str:
    """Return the form for the world of one of the books' ids, such as O0000000012."""
    kind, number = counted[0], int(counted[1:])
    code = (number * FACTOR + OFFSETS[kind]) % SPACE
    signs = "".join(ALPHABET[code >> (BITS_PER_SIGN * place) & 31] for place in reversed(range(SIGNS)))
    return f"{kind}{signs[:5]}-{signs[5:10]}-{signs[10:]}"


def counted(written_id: str) -> str | None:
    """Return the books' own id for one in Kraken's form, None if it has another form or was never given out."""
    form = FORM.fullmatch(written_id)
    if form is None:
        return None
    code = 0
    for sign in form[2] + form[3] + form[4]:
        code = code << BITS_PER_SIGN | ALPHABET.index(sign)
    number = (code - OFFSETS[form[1]]) * UNDO % SPACE
    return f"{form[1]}{number:010d}" if 0 < number < 10**10 else None
