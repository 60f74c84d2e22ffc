"""Retention rules: what each condition means, which rule decides, and which rules are refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.errors import Misconfigured
from clipledger.core.retention import Facts, Rule, deciding
from clipledger.settings import load

NOW = 1_780_000_000.0
POST = Facts("7", NOW - 10 * 86_400, "US", False, 5_000_000, frozenset({"@a", "#dance"}))


@pytest.mark.parametrize(
    ("conditions", "holds"),
    [
        ({"source": "@a"}, True),
        ({"source": "@b"}, False),
        ({"older_than": "9d"}, True),
        ({"older_than": "10d"}, False),
        ({"region": "US"}, True),
        ({"region": "DE"}, False),
        ({"gone": False}, True),
        ({"gone": True}, False),
        ({"larger_than": "4M"}, True),
        ({"larger_than": "5M"}, False),
        ({"source": "@a", "older_than": "9d", "region": "US", "gone": False, "larger_than": "1K"}, True),
        ({"source": "@a", "older_than": "9d", "region": "DE"}, False),
    ],
)
def test_a_rule_holds_when_every_condition_does(conditions: dict[str, object], holds: bool) -> None:
    """Source, age, region, gone or not, and size are judged as the rule says them; all of them must hold."""
    rule = Rule("r", "delete", **conditions)  # type: ignore[arg-type]
    assert (deciding([rule], POST, NOW) is rule) is holds


def test_the_first_rule_that_holds_decides() -> None:
    """An exception stands before the rule that it is excepted from: `keep` protects what a later rule would delete."""
    keep, drop = Rule("mine", "keep", source="@a"), Rule("old", "delete", older_than="1d")
    assert deciding([keep, drop], POST, NOW) is keep
    assert deciding([drop, keep], POST, NOW) is drop
    assert deciding([], POST, NOW) is None


@given(st.floats(0, 1e8), st.floats(0, 1e8))
def test_an_age_is_counted_from_the_capture(age_s: float, more_s: float) -> None:
    """What a rule names today it names tomorrow too: a post never grows younger."""
    rule = Rule("old", "delete", older_than="30d")
    post = Facts("7", NOW - age_s, "US", False, 1, frozenset())
    if deciding([rule], post, NOW) is rule:
        assert deciding([rule], post, NOW + more_s) is rule


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[[lifecycle.rules]]\nname = "all"\naction = "delete"\n', "whole archive"),
        ('[[lifecycle.rules]]\nname = "a"\naction = "delete"\nolder_than = "soon"\n', "duration"),
        ('[[lifecycle.rules]]\nname = "a"\naction = "delete"\nlarger_than = "big"\n', "number of bytes"),
        ('[[lifecycle.rules]]\nname = "a"\naction = "delete"\nregion = "usa"\n', "two capital letters"),
        ('[[lifecycle.rules]]\nname = "a"\naction = "burn"\nregion = "US"\n', "lifecycle.rules.0.action"),
        ('[[lifecycle.rules]]\nname = "a"\naction = "delete"\nolder = "1d"\n', "older"),
        ('[[lifecycle.rules]]\nname = "A b"\naction = "delete"\ngone = true\n', "name"),
        (
            '[[lifecycle.rules]]\nname = "a"\naction = "keep"\n[[lifecycle.rules]]\nname = "a"\naction = "keep"\n',
            "same",
        ),
    ],
)
def test_a_rule_that_cannot_be_meant_is_refused_at_the_start(tmp_path: Path, text: str, why: str) -> None:
    """A rule without a condition, with a misspelt key or a wrong value stops every command, and says which it is."""
    (tmp_path / "clipledger.toml").write_text(text)
    with pytest.raises(Misconfigured) as refused:
        load(tmp_path)
    assert why in refused.value.detail and "\n" not in refused.value.detail
