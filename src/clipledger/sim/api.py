"""The API's front door: keys, limits, credits, and everything that goes wrong in front of an answer.

Each call is booked in the ledger with its outcome. Most errors arrive with status 200.
Must not: know what an endpoint answers; that is `endpoints`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate

from clipledger.sim.dice import pick, roll
from clipledger.sim.endpoints import ENDPOINTS, Denied, Desk, Endpoint
from clipledger.sim.faults import Door
from clipledger.sim.ledger import Call
from clipledger.sim.reply import Ask, Ending, Framing, Headers, Reply
from clipledger.sim.scene import Scene

JSON_TYPE: Headers = (("Content-Type", "application/json; charset=utf-8"),)
HTML_TYPE: Headers = (("Content-Type", "text/html; charset=UTF-8"),)
NO_KEY = b'{"message":"Please sign up to tikliveapi.com"}'
BAD_KEY = b'{"message":"Api-Key is not available"}'
GATEWAY_PAGE = b"<html>\r\n<head><title>502 Bad Gateway</title></head>\r\n<body><h1>502 Bad Gateway</h1></body></html>"
SPLASH_PAGE = b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>Checking</body></html>"

_BALANCE = (
    "Insufficient balance", "You have no credits left", "Your monthly quota is used up",
    "Requests exhausted", "Please purchase a plan to continue",
)  # fmt: skip
_UNKNOWN = (
    b'{"message":"Something went wrong"}', b'{"status":"error","message":"Service is busy, try later"}',
    b'{"message":"Upstream timeout"}', b'{"status":"error","message":"Server error"}', b'{"message":null}',
)  # fmt: skip
_THROTTLED = (b"", b'{"message":"Too Many Requests"}', b"<html><h1>429 Too Many Requests</h1></html>", b"slow down")
_BLOCKING = (
    "key_refused", "balance_gone", "throttle_429", "http_500", "http_502_html", "empty_body", "html_200",
    "unknown_message",
)  # fmt: skip
_SPOILING = ("broken_json", "reset", "timeout")
_HARMLESS = frozenset({"enveloped", "gzip", "unsized", "slow", "key_refused", "balance_gone", "throttle_429"})


@dataclass(frozen=True, slots=True)
class _Turn:
    """One call on its way through the door."""

    ask: Ask
    endpoint: Endpoint
    subject: str
    post_id: str
    nth: int
    faults: frozenset[str]


class Api:
    """Answers API requests of one scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self.desk = Desk(scene)

    def answer(self, ask: Ask) -> Reply:
        """Answer and book one request."""
        at = self._scene.now()
        self._scene.ledger.arrived(at)
        endpoint = ENDPOINTS.get(ask.path)
        if endpoint is None or ask.method != "GET":
            return self._booked(at, ask.path, "", "error", 0, _stray(404 if endpoint is None else 405))
        turn = self._turn(ask, endpoint)
        outcome, spent, reply = self._passed(turn)
        named = reply.but(draw=f"{ask.path}/{turn.subject}/{turn.nth}")
        return self._booked(at, ask.path, turn.subject, outcome, spent, named)

    def _turn(self, ask: Ask, endpoint: Endpoint) -> _Turn:
        subject = endpoint.subject(ask.params)
        post_id = self.desk.post_id(subject) if endpoint.required[:1] == ("url",) else ""
        nth = self._scene.nth("api", ask.path, post_id or subject)
        faults = self._scene.struck(Door.API, ask.path, post_id or subject, nth)
        if post_id and self._scene.patient(post_id):
            faults &= _HARMLESS
        return _Turn(ask, endpoint, post_id or subject, post_id, nth, faults)

    def _passed(self, turn: _Turn) -> tuple[str, int, Reply]:
        """Let a call through key, limit and balance; return (outcome, credits, reply)."""
        key = turn.ask.headers.get("x-api-key", "")
        if key != self._scene.api_key:
            return "refused", 0, Reply(200, JSON_TYPE, BAD_KEY if key else NO_KEY)
        if self._scene.over_limit():
            return "throttled", 0, self._throttled(turn)
        if turn.post_id and "one_post_429" in self._scene.struck(Door.POST, turn.post_id):
            return "throttled", 0, self._throttled(turn, "one_post_429")
        for name in _BLOCKING:
            if name in turn.faults:
                return self._blocked(name, turn)
        if self._scene.balance is not None and self._scene.balance <= 0:
            return "refused", 0, self._penniless(turn)
        return self._answered(turn)

    def _blocked(self, name: str, turn: _Turn) -> tuple[str, int, Reply]:
        if name not in _HARMLESS:
            self._scene.failed(turn.post_id)
        outcome = {"throttle_429": "throttled", "key_refused": "refused", "balance_gone": "refused"}.get(name, name)
        return outcome, 0, _BLOCKERS[name](self, turn)

    def _answered(self, turn: _Turn) -> tuple[str, int, Reply]:
        try:
            body, shown = turn.endpoint.act(self.desk, turn.endpoint.read(turn.ask.params, turn.nth))
        except Denied as denied:
            text = _json({"status": "error", "message": denied.message})
            return "error", 0, self._dressed(Reply(denied.status, JSON_TYPE, text), turn)
        wrapped = {"code": 0, "msg": "success", "processed_time": 0.4, "data": body}
        reply = Reply(200, JSON_TYPE, _json(wrapped if "enveloped" in turn.faults else body), receipt=shown)
        for name in _SPOILING:
            if name in turn.faults:
                self._scene.failed(turn.post_id)
                spent = self._scene.spend() if self._roll(turn, name) < 0.5 else 0
                return name, spent, self._lost(name, reply)
        return "ok", self._scene.spend(), self._dressed(reply, turn)

    def _lost(self, name: str, reply: Reply) -> Reply:
        if name == "broken_json":
            return reply.but(body=reply.body[: len(reply.body) * 2 // 3], receipt=None)
        wait_s = self._scene.plan.amount("timeout") if name == "timeout" else 0.0
        return reply.but(mute=True, ending=Ending.RESET, wait_s=wait_s, receipt=None)

    def _dressed(self, reply: Reply, turn: _Turn) -> Reply:
        wait_s = self._scene.plan.amount("slow") if "slow" in turn.faults else 0.0
        framing = Framing.LENGTH
        if "unsized" in turn.faults:
            framing = Framing.CHUNKED if self._roll(turn, "framing") < 0.6 else Framing.CLOSE
        compress = "gzip" in turn.faults and "gzip" in turn.ask.headers.get("accept-encoding", "")
        return reply.but(wait_s=wait_s, framing=framing, compress=compress)

    def _throttled(self, turn: _Turn, name: str = "throttle_429") -> Reply:
        """Write a 429: a third tells nothing, a third seconds, a third a date."""
        wait_s = self._scene.plan.amount(name)
        told = pick(
            ("", f"{wait_s:.0f}", formatdate(self._scene.now() + wait_s, usegmt=True)), self._roll(turn, "after")
        )
        headers = (*JSON_TYPE, ("Retry-After", told)) if told else JSON_TYPE
        return Reply(429, headers, pick(_THROTTLED, self._roll(turn, "body")))

    def _refused(self, _turn: _Turn) -> Reply:
        status = int(self._scene.plan.amount("key_refused"))
        return Reply(status, JSON_TYPE, BAD_KEY if status == 200 else b"")

    def _penniless(self, turn: _Turn) -> Reply:
        return Reply(200, JSON_TYPE, _json({"message": pick(_BALANCE, self._roll(turn, "balance"))}))

    def _unknown(self, turn: _Turn) -> Reply:
        return Reply(200, JSON_TYPE, pick(_UNKNOWN, self._roll(turn, "unknown")))

    def _roll(self, turn: _Turn, what: str) -> float:
        return roll(self._scene.seed, what, turn.ask.path, turn.subject, turn.nth)

    def _booked(self, at: float, path: str, subject: str, outcome: str, spent: int, reply: Reply) -> Reply:
        self._scene.ledger.calls.append(Call(at, path, subject, outcome, spent, reply.status))
        return reply


_BLOCKERS: dict[str, Callable[[Api, _Turn], Reply]] = {
    "key_refused": Api._refused,
    "balance_gone": Api._penniless,
    "throttle_429": Api._throttled,
    "http_500": lambda _api, _turn: Reply(500, JSON_TYPE, b'{"message":"Server Error"}'),
    "http_502_html": lambda _api, _turn: Reply(502, HTML_TYPE, GATEWAY_PAGE),
    "empty_body": lambda _api, _turn: Reply(200, JSON_TYPE, b""),
    "html_200": lambda _api, _turn: Reply(200, HTML_TYPE, SPLASH_PAGE),
    "unknown_message": Api._unknown,
}


def _json(body: object) -> bytes:
    """Encode; most bodies as UTF-8, those that UTF-8 cannot hold with escapes."""
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        return json.dumps(body, separators=(",", ":")).encode()


def _stray(status: int) -> Reply:
    return Reply(status, HTML_TYPE, b"<html><body><h1>Not Found</h1></body></html>")
