"""Do what the operator's retention rules say: judge every archived post, delete or move what they name.

A pass is bounded, and the next goes on: what was deleted is no longer there to be judged, what was moved is
noted. Holds beat every rule. Must not: judge by itself (`core.retention` does).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass

from clipledger.core.errors import Misconfigured, StorageUnavailable
from clipledger.core.model import ObjectKey
from clipledger.core.ports import Bucket, Clock
from clipledger.core.retention import Rule, deciding
from clipledger.db.holds import Holds
from clipledger.db.removals import CHUNK, Grounds
from clipledger.db.retention import Retained
from clipledger.events import Events
from clipledger.stages.removal import PASS_MAX, Removal


@dataclass(frozen=True, slots=True)
class Judged:
    """One post that a rule decides over. `held`: the reason of a hold, which beats the rule."""

    aweme_id: str
    rule: Rule
    bytes: int
    held: str | None = None


@dataclass(slots=True)
class Enforced:
    """What one pass did."""

    deleted: int = 0
    cooled: int = 0
    bytes: int = 0
    held: int = 0


class Retention:
    """Judge and enforce. `storage_class` is where `cold` moves files; `bucket` None: there is nowhere to move to."""

    def __init__(
        self,
        rules: Sequence[Rule],
        retained: Retained,
        holds: Holds,
        removal: Removal,
        bucket: Bucket | None,
        storage_class: str,
        clock: Clock,
        events: Events,
    ) -> None:
        if bucket is None and (cold := next((rule for rule in rules if rule.action == "cold"), None)):
            raise Misconfigured(f"lifecycle.rules: rule {cold.name}: cold needs an S3 bucket in storage.url")
        self._rules, self._retained, self._holds = rules, retained, holds
        self._removal, self._bucket, self._class = removal, bucket, storage_class
        self._clock, self._events = clock, events

    async def judged(self) -> AsyncIterator[Judged]:
        """Give every post that a rule would delete or move, by id, held ones too."""
        now, after = self._clock.now(), ""
        ages = [rule.older_than_s or 0.0 for rule in self._rules if rule.action != "keep"]
        while ages and (page := await self._retained.page(after, now - min(ages))):
            chosen = [(facts, rule) for facts in page if (rule := deciding(self._rules, facts, now)) is not None]
            meant = [(facts, rule) for facts, rule in chosen if rule.action != "keep"]
            held = await self._holds.held([facts.aweme_id for facts, _ in meant])
            cold = [facts.aweme_id for facts, rule in meant if rule.action == "cold"]
            warm = {file.aweme_id for file in await self._retained.warm(cold, self._class)} if cold else set()
            for facts, rule in meant:
                if rule.action == "delete" or facts.aweme_id in warm:
                    yield Judged(facts.aweme_id, rule, facts.bytes, held.get(facts.aweme_id))
            after = page[-1].aweme_id

    async def tidy(self) -> None:
        """Make one bounded pass; a store that fails is told, and asked again with the next."""
        try:
            done = await self.enforce(PASS_MAX)
        except (Misconfigured, StorageUnavailable) as error:
            self._events.emit("purge_failed", why=error.detail)
            return
        if done.deleted or done.cooled:
            self._events.emit("retired", posts=done.deleted + done.cooled, bytes=done.bytes)

    async def enforce(self, limit: int | None = None, on_step: Callable[[Enforced], None] | None = None) -> Enforced:
        """Delete and move what the rules name, at most `limit` posts; `on_step` is told now and then how far it is."""
        done, batch = Enforced(), list[Judged]()
        async for judged in self.judged():
            if judged.held is not None:
                done.held += 1
                continue
            batch.append(judged)
            full = limit is not None and done.deleted + done.cooled + len(batch) >= limit
            if len(batch) >= CHUNK or full:
                await self._act(batch, done)
                batch = []
                if on_step is not None:
                    on_step(done)
            if full:
                return done
        await self._act(batch, done)
        return done

    async def _act(self, batch: Sequence[Judged], done: Enforced) -> None:
        by_rule: dict[str, list[Judged]] = {}
        for judged in batch:
            by_rule.setdefault(judged.rule.name, []).append(judged)
        for name, chosen in by_rule.items():
            if chosen[0].rule.action == "cold":
                await self._cool(name, chosen, done)
            else:
                await self._delete(name, chosen, done)

    async def _delete(self, rule: str, chosen: Sequence[Judged], done: Enforced) -> None:
        grounds = Grounds(f"retention rule {rule}", rule=rule)
        taken = await self._removal.withdraw([judged.aweme_id for judged in chosen], grounds)
        purged = await self._removal.purge(taken.taken)
        done.deleted, done.bytes = done.deleted + len(taken.taken), done.bytes + purged.bytes
        done.held += len(taken.held)

    async def _cool(self, rule: str, chosen: Sequence[Judged], done: Enforced) -> None:
        assert self._bucket is not None
        for judged in chosen:
            moved = []
            for file in await self._retained.warm([judged.aweme_id], self._class):
                try:
                    await self._bucket.cool(ObjectKey(file.storage_key), self._class)
                except KeyError:
                    continue  # `verify` tells what is missing
                moved.append(file)
            if moved:
                await self._retained.cooled(moved, self._class, rule, self._clock.now())
            done.cooled, done.bytes = done.cooled + bool(moved), done.bytes + sum(file.bytes for file in moved)
