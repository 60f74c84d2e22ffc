"""Days on which far more disappeared than usual."""

from __future__ import annotations

from clipledger.core.spikes import DAY_S, LEAST, spikes

UNTIL = 90 * DAY_S


def test_a_purge_stands_out() -> None:
    """One day on which forty posts went, among days that lose one or two, is named; the quiet days are not."""
    days = [(at * DAY_S, 1.0 + at % 2) for at in range(90)]
    days[70] = (70 * DAY_S, 40.0)
    found = spikes(days, 0.0, UNTIL)
    assert [(each.at, each.count) for each in found] == [(70 * DAY_S, 40)]
    assert found[0].usual in (1.0, 1.5, 2.0)


def test_quiet_archives_have_no_spikes() -> None:
    """A few losses after months of none are no spike, nor is a steady loss, however large; nor is nothing."""
    assert spikes([(3 * DAY_S, LEAST - 1.0)], 0.0, UNTIL) == []
    assert spikes([(at * DAY_S, 500.0) for at in range(90)], 0.0, UNTIL) == []
    assert spikes([], 0.0, UNTIL) == []


def test_days_without_losses_count() -> None:
    """Five on one day are a spike where most days lose nothing; days outside of the span are not looked at."""
    assert [each.count for each in spikes([(3 * DAY_S, LEAST), (95 * DAY_S, 900.0)], 0.0, UNTIL)] == [LEAST]
