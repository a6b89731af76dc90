"""Damaged runs of many files: no answer is a 500, nothing raises, and the good run beside them stays the same."""

from __future__ import annotations

import pytest
from hypothesis import given

from tests.faults.fuzzing import DAMAGE, Fault, check_damaged_run, fuzzed
from tests.faults.test_unreadable import RUNS


@pytest.mark.parametrize("name", RUNS)
@fuzzed(10)
@given(damage=DAMAGE)
def test_a_damaged_run_of_many_files_harms_nothing(
    name: str, tmp_path_factory: pytest.TempPathFactory, damage: list[tuple[float, list[Fault]]]
) -> None:
    check_damaged_run(RUNS[name], damage, tmp_path_factory)
