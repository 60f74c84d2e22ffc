"""The OpenAPI document is true: what it says is taken is taken, what it says comes back comes back."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable

# What a schema cannot say, the search language, keys and durations, is refused with 400 all the same.
from schemathesis.specs.openapi.checks import positive_data_acceptance

from web.test_web_serve import serving

pytestmark = pytest.mark.slow

EXAMPLES = 6
"""Of each operation, good and bad requests each."""


def test_every_operation_does_what_the_document_says(folder: Path) -> None:
    """Whatever is sent, good or bad: a documented status, a documented form, no failure of the server."""
    with serving(folder) as (base, process):
        document = schemathesis.openapi.from_url(f"{base}/api/v1/openapi.json")
        operations = [found.ok() for found in document.get_all_operations()]
        assert len(operations) > 30
        for operation in operations:
            for mode in schemathesis.GenerationMode:
                _try(operation.as_strategy(generation_mode=mode))
        assert process.poll() is None


def _try(cases: Any) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=cases)
    def ask(case: Any) -> None:
        json = {"content-type": "application/json"} if case.method != "GET" else None
        case.call_and_validate(headers=json, excluded_checks=[positive_data_acceptance])

    with suppress(Unsatisfiable):  # nothing can be wrong with a request that takes nothing
        ask()
