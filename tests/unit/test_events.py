"""What is told of what happens: in order, counted, and without secrets."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clipledger.core.errors import Reason
from clipledger.core.model import ApiKey, SignedUrl, State
from clipledger.events import RARE, Event, Events

SECRET = "c0ffee5ec2e7"
SIGNED = f"https://v16.tiktokcdn.com/a.mp4?x-expires=1780003600&x-signature={SECRET}"


class Ticking:
    """A clock that stands at `at`."""

    at = 1000.0

    def now(self) -> float:
        return self.at


def heard(**fields: object) -> Event:
    told: list[Event] = []
    Events(Ticking(), told.append).emit("page", **fields)
    (event,) = told
    return event


def test_events_reach_every_listener_in_order() -> None:
    """Everybody who listens hears every event once, in the order in which it happened."""
    told: list[tuple[str, str]] = []
    events = Events(
        Ticking(), lambda event: told.append(("one", event.name)), lambda event: told.append(("two", event.name))
    )
    events.emit("page")
    events.emit("stored")
    assert told == [("one", "page"), ("two", "page"), ("one", "stored"), ("two", "stored")]


def test_events_are_counted_whether_or_not_somebody_listens() -> None:
    """Each name has one counter, also in a run that prints nothing."""
    events = Events(Ticking())
    for name in ("stored", "page", "stored"):
        events.emit(name)
    assert events.counts == {"stored": 2, "page": 1}
    assert events.counts["dead"] == 0


def test_an_event_bears_the_clocks_time() -> None:
    """An event carries the moment at which it happened, by the run's own clock, simulated or not."""
    clock, told = Ticking(), list[Event]()
    events = Events(clock, told.append)
    events.emit("page")
    clock.at = 2000.0
    events.emit("page")
    assert [event.at for event in told] == [1000.0, 2000.0]


def test_rare_events_are_kept_whether_or_not_somebody_listens() -> None:
    """What an operator asks about later is handed over once, in order, to be kept; everyday events are not."""
    for listeners in ((), (lambda event: None,)):
        events = Events(Ticking(), *listeners)
        for name in ("page", "halted", "stored", "breaker_opened"):
            events.emit(name, link=SIGNED)
        kept = events.take_rare()
        assert [event.name for event in kept] == ["halted", "breaker_opened"]
        assert SECRET not in repr(kept)
        assert events.take_rare() == []


def test_rare_events_are_bounded() -> None:
    """A flood of them keeps the latest thousand: a run cannot fill the memory by telling."""
    events = Events(Ticking())
    for n in range(1500):
        events.emit(min(RARE), n=n)
    assert [event.fields["n"] for event in events.take_rare()] == list(range(500, 1500))


@pytest.mark.parametrize(
    "value",
    [
        ApiKey(SECRET),
        SignedUrl(SIGNED),
        [ApiKey(SECRET)],
        {"link": SignedUrl(SIGNED)},
        SIGNED,
        f"could not open {SIGNED}: HTTP 403",
        [SIGNED],
        RuntimeError(f"GET {SIGNED} failed"),
        f"/media/1.mp4?expire=1780003600&signature={SECRET}",
        f"X-Api-Key: {SECRET}",
    ],
    ids=["key", "link", "key in a list", "link in a dict", "text", "sentence", "list", "error", "relative", "header"],
)
def test_no_secret_is_told(value: object) -> None:
    """No event, and so no log line, holds a key or a signed link, however deep it hides in what is told."""
    assert SECRET not in repr(heard(what=value))


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        ("7387261234567890123", "7387261234567890123"),
        (3, 3),
        (1.5, 1.5),
        (True, True),
        (None, None),
        (Reason.NOT_FOUND, "not_found"),
        (State.DEAD, "dead"),
        (ApiKey(SECRET), "***"),
        ("alice said hi", "alice said hi"),
    ],
)
def test_plain_values_are_told_as_they_are(value: object, plain: object) -> None:
    """Ids stay text, numbers stay numbers, words stay words."""
    told = heard(what=value).fields["what"]
    assert told == plain
    assert type(told) is type(plain) or isinstance(value, str)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary(),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
        max_leaves=5,
    )
)
def test_anything_can_be_told(value: object) -> None:
    """Whatever a message holds, telling it fails nowhere: each event is one line of JSON."""
    line = json.dumps(dict(heard(what=value).fields))
    assert "\n" not in line
