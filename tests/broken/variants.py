"""Broken variants of the program, one small change each, with the test that must fail on it.

`old` stands exactly once in the file and is replaced by `new`. A variant that nothing notices means that nothing
guards what it breaks. Must not: apply or run anything (`trial` does).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Variant:
    """One broken program: `old` -> `new` in `file` below src/clipledger, noticed by `test`."""

    name: str
    file: str
    old: str
    new: str
    test: str


_DURABILITY = "tests/process/test_durability.py::"
_ORDER = "tests/contract/test_order_of_writes.py::"
_SETTLING = "tests/contract/test_queue_settling.py::"
_QUEUE = "tests/contract/test_queue.py::"
_SAFE_VIDEO = "test_a_video_is_safe_before_it_has_a_name_and_named_safely_before_we_say_so"

VARIANTS = (
    Variant(
        "a part is not synced",
        "storage/spool.py",
        "                sync_file(self._fd)\n",
        "                pass\n",
        _DURABILITY + _SAFE_VIDEO,
    ),
    Variant(
        "the folder of a file is not synced",
        "storage/local.py",
        "        return False\n    sync_folder(folder)\n    return True\n",
        "        return False\n    return True\n",
        _DURABILITY + _SAFE_VIDEO,
    ),
    Variant(
        "a sidecar is not synced",
        "storage/publish.py",
        "    set_file_mode(fd)\n    sync_file(fd)\n",
        "    set_file_mode(fd)\n",
        _DURABILITY + "test_a_sidecar_is_safe_before_it_has_a_name_too",
    ),
    Variant(
        "a new folder is not synced",
        "storage/folders.py",
        "        sync_folder(parent)  # also for one found standing",
        "        pass  # also for one found standing",
        _DURABILITY + "test_a_new_folder_is_safe_before_anything_stands_in_it",
    ),
    Variant(
        "stored is said before the sidecar is put",
        "stages/download.py",
        "        key = layout.sidecar_of(capture.key)\n        try:\n            await self._persist(",
        "        key = layout.sidecar_of(capture.key)\n        await self._mark_stored(capture.job)\n"
        "        try:\n            await self._persist(",
        _ORDER + "test_each_write_stands_before_the_next_begins",
    ),
    Variant(
        "the sidecar comes first",
        "stages/download.py",
        "        capture = await self._fix_place(attempt, post, standing)\n",
        "        capture = await self._fix_place(attempt, post, standing)\n"
        "        early = sidecar.write(post, (), captured_at=0.0, version=__version__, missing=[])\n"
        "        await self._store.put_bytes(layout.sidecar_of(capture.key), early, MediaType.JSON)\n",
        _ORDER + "test_each_write_stands_before_the_next_begins",
    ),
    Variant(
        "a post keeps the place of its first kind",
        "stages/download.py",
        "                if post.is_photo != _is_photo(capture):",
        "                if post.is_photo is None:",
        _ORDER + "test_a_post_that_changes_its_kind_in_the_middle_never_takes_its_sidecars_place",
    ),
    Variant(
        "the key is not written down before the first byte",
        "db/settling.py",
        "        storage_key=case((told.c.anew, told.c.key), else_=func.coalesce(_q.c.storage_key, told.c.key)),\n",
        "",
        _ORDER + "test_each_write_stands_before_the_next_begins",
    ),
    Variant(
        "no row in credits before the call",
        "stages/paid.py",
        "            seq = await self._intend(call, purpose)\n            purpose.sent()\n",
        "            told = await self._api.call(call)\n"
        "            seq = await self._intend(call, purpose)\n            purpose.sent()\n",
        _ORDER + "test_each_write_stands_before_the_next_begins",
    ),
    Variant(
        "leases are never renewed",
        "worker.py",
        "            await self.renew()\n",
        "            pass\n",
        _ORDER + "test_a_long_download_keeps_its_lease",
    ),
    Variant(
        "stale tokens are honoured",
        "db/settling.py",
        "_q.c.aweme_id == told.c.id, _q.c.token == told.c.t, _q.c.state",
        "_q.c.aweme_id == told.c.id, _q.c.state",
        _SETTLING + "test_a_stale_worker_changes_nothing",
    ),
    Variant(
        "a renamed author moves the key",
        "db/settling.py",
        "else_=func.coalesce(_q.c.storage_key, told.c.key)",
        "else_=told.c.key",
        _SETTLING + "test_key_and_author_are_fixed_by_the_first_resolve",
    ),
    Variant(
        "the dead get no letter",
        "db/settling.py",
        "    dead = [row for row in held if row.settlement.state is State.DEAD]\n",
        "    dead = held[:0]\n",
        _SETTLING + "test_the_dead_have_their_letter",
    ),
    Variant(
        "files are replaced",
        "storage/publish.py",
        "    try:\n        os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)\n",
        "    with suppress(FileNotFoundError):\n        os.unlink(name, dir_fd=folder)\n"
        "    try:\n        os.link(source, name, dst_dir_fd=folder, follow_symlinks=False)\n",
        "tests/contract/test_store_folder.py::test_a_link_under_the_final_name_is_not_followed",
    ),
    Variant(
        "other bytes of the same size are taken for the same",
        "storage/local.py",
        "        if os.fstat(fd).st_size != offer.size_bytes or digest_file(fd)[1] != offer.sha256:\n",
        "        if os.fstat(fd).st_size != offer.size_bytes:\n",
        "tests/contract/test_store.py::test_other_bytes_never_replace[local-othr]",
    ),
    Variant(
        "the janitor ignores locks",
        "storage/spool.py",
        "        return False\n    try:\n        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)\n"
        "    except BlockingIOError:\n        return False\n    finally:\n        os.close(fd)\n    return True\n\n\n"
        "def _leftover(",
        "        return False\n    os.close(fd)\n    return True\n\n\ndef _leftover(",
        "tests/contract/test_spool_leftovers.py::test_a_living_part_is_never_a_leftover",
    ),
    Variant(
        "the cursor is saved first",
        "db/queue.py",
        "        return await self._db.write(lambda connection: intake.add_page(connection, page))\n",
        "        from dataclasses import replace\n\n"
        "        await self._db.write(lambda connection: intake.add_page(connection, replace(page, posts=())))\n"
        "        return await self._db.write(lambda connection: intake.add_page(connection, page))\n",
        _QUEUE + "test_a_page_moves_its_source_on",
    ),
    Variant(
        "a late page moves the cursor",
        "db/intake.py",
        "    progress = _move_on(connection, page, unseen) if held else None\n",
        "    progress = _move_on(connection, replace(page, token=page.token + 1), unseen)\n",
        _QUEUE + "test_a_late_page_keeps_its_ids_and_not_its_cursor",
    ),
    Variant(
        "a known id begins anew",
        "db/intake.py",
        "_ENQUEUE = per_dialect(lambda insert: insert(_q).on_conflict_do_nothing())",
        '_ENQUEUE = per_dialect(\n    lambda insert: insert(_q).on_conflict_do_update(index_elements=["aweme_id"], '
        'set_={"state": "pending"})\n)',
        _QUEUE + "test_an_id_is_queued_once",
    ),
    Variant(
        "two workers get one video",
        "db/leases.py",
        "        state=State.RUNNING,\n        attempts=_q.c.attempts + 1,\n",
        "        attempts=_q.c.attempts + 1,\n",
        _QUEUE + "test_two_workers_never_hold_one_video",
    ),
    Variant(
        "deaths of workers are not counted",
        "db/leases.py",
        '        "crash": 1,\n',
        '        "crash": 0,\n',
        "tests/contract/test_queue_release.py::test_a_video_that_kills_three_workers_is_dead",
    ),
    Variant(
        "commits are not synced",
        "db/sqlite.py",
        '"PRAGMA synchronous = FULL"',
        '"PRAGMA synchronous = NORMAL"',
        "tests/contract/test_database.py::test_every_connection_syncs_fully_and_keeps_foreign_keys",
    ),
    Variant(
        "writes begin deferred",
        "db/sqlite.py",
        '"BEGIN IMMEDIATE" if writes else "BEGIN"',
        '"BEGIN"',
        "tests/contract/test_database_writers.py::test_what_a_write_has_read_stays_true_until_it_commits",
    ),
    Variant(
        "one failed write takes its neighbours with it",
        "db/sharing.py",
        "        self._scope.rollback()\n        self.error = error\n        return True\n",
        "        return False\n",
        "tests/contract/test_database.py::test_an_error_keeps_to_its_own_writer",
    ),
    Variant(
        "the daily cap is one too high",
        "db/credits.py",
        "    if row.cap is not None and spent[row.day] + 1 > row.cap:\n",
        "    if row.cap is not None and spent[row.day] > row.cap:\n",
        "tests/contract/test_credits.py::test_the_cap_is_reached_exactly",
    ),
    Variant(
        "a refund is given twice",
        "db/credits.py",
        "    return [first[row.seq] is row and row.seq in closed for row in rows]\n",
        "    return [row.seq in closed for row in rows]\n",
        "tests/contract/test_credits.py::test_settling_a_call_twice_at_once_refunds_once",
    ),
    Variant(
        "unused permits are saved up",
        "core/pace.py",
        "        first_ms = max(round(next_at * 1000), _ceil_ms(max(now, not_before)))\n",
        "        first_ms = round(next_at * 1000)\n",
        "tests/unit/test_pace.py::test_unused_time_is_not_saved_up",
    ),
    Variant(
        "single calls follow a group at once",
        "core/pace.py",
        "    idle = next_at + size * interval_s(per_minute) <= max(now, not_before)\n",
        "    idle = next_at <= max(now, not_before)\n",
        "tests/unit/test_pace.py::test_groups_and_single_calls_by_turns_hold_the_limit",
    ),
    Variant(
        "a group need not divide the limit",
        "core/pace.py",
        "range(most, 1, -1) if per_minute % size == 0), 1)\n",
        "range(most, 1, -1)), 1)\n",
        "tests/unit/test_pace.py::test_calls_go_together_in_groups_that_divide_the_limit",
    ),
    Variant(
        "a group may be joined for ever",
        "core/pace.py",
        "ticks.opens_ms(_ceil_ms(max(now - JOIN_S, not_before))))\n",
        "0)\n",
        "tests/unit/test_pace.py::test_no_minute_ever_holds_more_than_the_limit",
    ),
    Variant(
        "late permits are used",
        "core/pace.py",
        "    return now - scheduled_at >= LATE_S\n",
        "    return False\n",
        "tests/contract/test_limits.py::test_a_late_permit_is_thrown_away",
    ),
    Variant(
        "the breaker never opens",
        "stages/guard.py",
        "        if mood in (Mood.FAILING, Mood.CHANGED):\n",
        "        if mood is None:\n",
        "tests/scenario/test_outages.py::test_ten_minutes_of_500_burn_no_attempt",
    ),
    Variant(
        "gone is believed at once",
        "core/lifecycle.py",
        "    if job.not_founds + 1 >= policy.gone_rechecks and now - first >= policy.gone_span_s:\n",
        "    if now >= first:\n",
        "tests/unit/test_lifecycle.py::test_gone_is_a_suspect_first",
    ),
    Variant(
        "a mass of not-founds is no burst",
        "core/breaker.py",
        "        if self.gone > GONE_MAX:\n            return Mood.BURST\n",
        "",
        "tests/unit/test_breaker.py::test_a_burst_needs_no_full_window",
    ),
    Variant(
        "the allow-list is off",
        "net/cdn.py",
        "        if not self._knows(host):\n            raise RefusedUrl(",
        "        if not host:\n            raise RefusedUrl(",
        "tests/unit/test_cdn.py::test_a_link_elsewhere_is_never_opened",
    ),
    Variant(
        "private addresses are dialled",
        "net/wire.py",
        "        if not is_public(host):\n            self._refused = host\n            return None\n",
        "",
        "tests/contract/test_wire.py::test_a_private_address_is_not_even_dialled",
    ),
    Variant(
        "an open connection inside is used again",
        "net/wire.py",
        "            allowed = not self._guarded or is_public(address)\n",
        "            allowed = True\n",
        "tests/contract/test_wire.py::test_a_private_connection_is_not_reused_for_a_public_link",
    ),
    Variant(
        "wrapped addresses pass for public ones",
        "net/hosts.py",
        "        parsed = _embedded(parsed) or parsed\n",
        "        pass\n",
        "tests/unit/test_hosts.py::test_a_wrapped_address_is_judged_by_what_is_inside",
    ),
    Variant(
        "redirects are followed blindly",
        "net/wire.py",
        "    (pycurl.FOLLOWLOCATION, 0),\n",
        "    (pycurl.FOLLOWLOCATION, 1),\n",
        "tests/contract/test_wire.py::test_a_refusal_is_an_answer",
    ),
    Variant(
        "a redirect may weaken the scheme",
        "net/cdn.py",
        '        if url.startswith("https:") and not target.startswith("https:"):\n',
        "        if not target:\n",
        "tests/unit/test_cdn.py::test_a_redirect_never_weakens_the_scheme",
    ),
    Variant(
        "downloads have no largest size",
        "net/cdn.py",
        "self.floor_window_s, self.max_bytes)\n",
        "self.floor_window_s, 2**62)\n",
        "tests/unit/test_cdn.py::test_a_broken_download_is_named",
    ),
    Variant(
        "headers have no largest size",
        "net/wire.py",
        "        if self._header_bytes > self.request.limits.max_header_bytes:\n",
        "        if self._header_bytes < 0:\n",
        "tests/contract/test_wire.py::test_headers_have_a_cap_of_their_own",
    ),
    Variant(
        "a paid call is sent again by the library",
        "net/wire.py",
        "            self._again, self._sent = self._sent and self.request.once, True\n",
        "            self._again, self._sent = False, True\n",
        "tests/contract/test_wire.py::test_a_request_is_sent_once",
    ),
    Variant(
        "a cut film is whole",
        "core/boxes.py",
        '        if box.end > size:\n            raise TruncatedBody(f"the box',
        '        if box.end < 0:\n            raise TruncatedBody(f"the box',
        "tests/unit/test_media.py::test_a_file_cut_anywhere_is_refused",
    ),
    Variant(
        "samples behind the end are not missed",
        "core/boxes.py",
        '    if end > size:\n        raise TruncatedBody(f"samples end',
        '    if end < 0:\n        raise TruncatedBody(f"samples end',
        "tests/unit/test_media.py::test_chunks_that_lie_behind_the_end_are_found",
    ),
    Variant(
        "another post's answer is taken",
        "core/parse.py",
        "    if asked is not None and named != asked:\n",
        "    if asked is not None and not named:\n",
        "tests/unit/test_parse.py::test_a_detail_of_another_post_is_stored_under_neither",
    ),
    Variant(
        "an edited sidecar may name any place",
        "core/sidecar.py",
        "    if place is None or place.aweme_id != aweme_id:\n",
        "    if place is not None and place.aweme_id != aweme_id:\n",
        "tests/unit/test_sidecar.py::test_a_tampered_sidecar_is_refused",
    ),
    Variant(
        "a long number is read",
        "net/tiklive.py",
        "    if len(digits) > DIGITS_MAX:\n",
        "    if len(digits) < 0:\n",
        "tests/unit/test_tiklive.py::test_a_body_built_to_do_harm_is_malformed",
    ),
    Variant(
        "a listing is followed in a circle",
        "storage/s3.py",
        "            if not token or token in met or empty > _EMPTY_MAX:\n",
        "            if not token:\n",
        "tests/contract/test_store_hostile.py::test_a_listing_that_runs_in_a_circle_ends",
    ),
    Variant(
        "a key leads out of the archive",
        "core/layout.py",
        '    return f"%2E{part[1:]}" if part.startswith(".") else part\n',
        "    return text\n",
        "tests/unit/test_layout.py::test_author_parts_are_safe_names",
    ),
    Variant(
        "secrets are shown",
        "core/model.py",
        '        return f"{type(self).__name__}(***)"\n',
        '        return f"{type(self).__name__}({self._text})"\n',
        "tests/unit/test_events.py::test_no_secret_is_told",
    ),
    Variant(
        "signatures are kept",
        "core/scrub.py",
        '    return _USERINFO.sub("", _QUERY.sub("", rest))\n',
        "    return rest\n",
        "tests/unit/test_scrub.py::test_a_reply_is_kept_without_its_signatures",
    ),
    Variant(
        "damaged bytes go before whole ones stand",
        "stages/repair.py",
        "            await self._store.put_part(beside, part, media_type)\n            await self._store.delete(key)\n",
        "            await self._store.delete(key)\n",
        "tests/scenario/test_repair.py::test_a_crash_anywhere_loses_nothing",
    ),
    Variant(
        "an older database is taken for the archive's",
        "stages/janitor.py",
        "        if begun is None and (noted is None or (newest or 0.0) >= noted):\n",
        "        if begun is None:\n",
        "tests/scenario/test_rebuild.py::test_a_backup_of_yesterday_buys_nothing_again",
    ),
    Variant(
        "a withheld post comes back out of the store",
        "db/restoring.py",
        "for state in (State.PENDING, State.STORED, State.DEAD)",
        "for state in (State.PENDING, State.STORED, State.DEAD, State.WITHHELD)",
        "tests/contract/test_care.py::test_the_store_brings_back_what_waits_is_dead_or_unknown",
    ),
    Variant(
        "files are read twice a period",
        "core/rotation.py",
        "    return due_at + period_s * max(",
        "    return due_at + period_s / 2 * max(",
        "tests/unit/test_rotation.py::test_the_next_look_is_one_period_on_and_not_past",
    ),
)
