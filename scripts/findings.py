"""What an examination has found, one line each: `ok | warn | FAIL  name: what was found; what to do`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from enum import Enum

import attrs


class Grade(Enum):
    """How bad it is."""

    OK = "ok"
    WARN = "warn"
    """To be known; nothing that a run would stop at."""
    FAIL = "FAIL"


@attrs.frozen
class Finding:
    """One thing that was looked at."""

    grade: Grade
    name: str
    found: str
    advice: str = ""

    def as_line(self) -> str:
        """Return it as one line for people."""
        text = f"{self.found}; {self.advice}" if self.advice else self.found
        return f"{self.grade.value:<4}  {self.name}: {' '.join(text.split())}"


def fine(name: str, found: str) -> Finding:
    """Return that something is as it should be."""
    return Finding(Grade.OK, name, found)


def remark(name: str, found: str, advice: str = "") -> Finding:
    """Return that something should be known."""
    return Finding(Grade.WARN, name, found, advice)


def failure(name: str, found: str, advice: str = "") -> Finding:
    """Return that something must be mended first."""
    return Finding(Grade.FAIL, name, found, advice)


def is_sound(findings: Sequence[Finding]) -> bool:
    """Say whether nothing failed."""
    return all(finding.grade is not Grade.FAIL for finding in findings)


def as_json(findings: Sequence[Finding]) -> str:
    """Return all of them as one JSON object."""
    checks = [
        {"check": one.name, "grade": one.grade.value.lower(), "found": one.found, "advice": one.advice}
        for one in findings
    ]
    return json.dumps({"ok": is_sound(findings), "checks": checks}, ensure_ascii=False)
