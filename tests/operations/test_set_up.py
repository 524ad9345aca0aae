"""The two commands set themselves up: what is pinned, and what is said when Python does not fit."""

from __future__ import annotations

import configparser
import os
import subprocess
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pairs = (line.split("==") for line in lines if not line.startswith("#"))
    return {canonicalize_name(name): version for name, version in pairs}


def wanted() -> list[Requirement]:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    lines = setup["options"]["install_requires"] + setup["options.extras_require"]["dev"]
    return [Requirement(line) for line in lines.split("\n") if line.strip()]


def sourced(command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    script = f'set -euo pipefail; . "{ROOT}/scripts/environment.sh"; {command}'
    return subprocess.run(
        ["bash", "-c", script], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("requirement", wanted(), ids=str)
def test_every_requirement_is_pinned_to_a_version_that_it_allows(requirement: Requirement) -> None:
    assert pins()[canonicalize_name(requirement.name)] in requirement.specifier


@pytest.mark.parametrize(
    "script", ["scripts/run", "scripts/test", "scripts/bench", "scripts/simulate", "scripts/environment.sh", ".ci/run"]
)
def test_the_scripts_are_well_formed(script: str) -> None:
    assert subprocess.run(["bash", "-n", ROOT / script], check=False).returncode == 0
    assert script.endswith(".sh") or os.access(ROOT / script, os.X_OK)


def test_a_python_that_does_not_fit_is_named(tmp_path: Path) -> None:
    old = tmp_path / "old python"
    old.write_text("#!/bin/sh\nexit 1\n")
    old.chmod(0o755)

    result = sourced("find_python", PYTHON=str(old))

    assert result.returncode == 2
    assert f"PYTHON={old} does not run, or is older than Python 3.11" in result.stderr


def test_without_any_python_it_says_what_to_install(tmp_path: Path) -> None:
    result = sourced(f'PATH="{tmp_path}"; find_python', PYTHON="")

    assert result.returncode == 2
    assert "Python 3.11 or newer is needed" in result.stderr


def test_what_was_installed_for_other_requirements_does_not_count(tmp_path: Path) -> None:
    """A checkout of its own, so that nothing here is touched."""
    (tmp_path / "scripts").mkdir()
    for name in ("scripts/environment.sh", "setup.cfg", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    (tmp_path / ".venv/bin").mkdir(parents=True)
    python = tmp_path / ".venv/bin/python"
    python.write_text("#!/bin/sh\nexit 0\n")
    python.chmod(0o755)
    commands = (
        "wanted >'.venv/installed[dev]'; is_prepared '' && is_prepared '[dev]' && echo ready; "
        "echo '# changed' >>constraints.txt; is_prepared '' || is_prepared '[dev]' || echo outdated"
    )
    script = f". scripts/environment.sh; {commands}"

    result = subprocess.run(["bash", "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)

    assert result.stdout.split() == ["ready", "outdated"]
