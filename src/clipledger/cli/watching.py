"""Who watches a run: the terminal or stdout, the log file, the metrics port; chosen by options.

Must not: load the metrics library unless a port was asked for.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from clipledger import __version__
from clipledger.archive import Archive
from clipledger.cli.logs import LogFile, LogFormat, Speller, speller
from clipledger.cli.output import Context
from clipledger.cli.progress import watch
from clipledger.core.errors import Misconfigured, UsageError
from clipledger.crew import Crew, Plan
from clipledger.events import Event, Events, Listener
from clipledger.presence import PRIVATE
from clipledger.settings import FILE_NAME

if TYPE_CHECKING:
    from clipledger.metrics.door import Served

_OWN = {FILE_NAME, *(f"clipledger.db{end}" for end in ("", "-wal", "-shm", "-journal"))}


@dataclass(frozen=True, slots=True)
class Watched:
    """What `run` was asked to show, and where."""

    metrics: tuple[str, int] | None = None
    log_file: Path | None = None
    log_format: LogFormat = LogFormat.TEXT


def watched(
    folder: Path, metrics_port: int | None, metrics_host: str, log_file: Path | None, log_format: str
) -> Watched:
    """Read the options; UsageError for a log format that there is not, or a log onto a file of the archive's own."""
    if log_file is not None and _is_own(folder, log_file):
        raise UsageError(f"--log-file {log_file}: that is a file of the archive's own: name another one")
    try:
        form = LogFormat(log_format)
    except ValueError:
        raise UsageError(f"--log-format {log_format!r}: use text or json") from None
    return Watched(None if metrics_port is None else (metrics_host, metrics_port), log_file, form)


def _is_own(folder: Path, file: Path) -> bool:
    folder, file = Path(os.path.realpath(folder)), Path(os.path.realpath(file))
    return file.is_relative_to(folder / PRIVATE) or (file.parent == folder and file.name in _OWN)


@dataclass(slots=True)
class Watchers:
    """The listeners of one run."""

    plan: Plan
    spell: Speller
    now: Callable[[], float]
    listeners: list[Listener] = field(default_factory=list)
    log: LogFile | None = None
    to_stderr: Context | None = None
    served: Served | None = None

    def begin(self, events: Events, hands: Crew) -> None:
        """Tell that the run began, and let the metrics see what is under way."""
        roles = ",".join(sorted(self.plan.roles))
        events.emit("started", version=__version__, roles=roles, follow=self.plan.follow, pid=os.getpid())
        if self.served is not None:
            self.served.meter.in_flight = lambda: hands.worker.in_flight
            events.emit("metrics_served", url=self.served.url)

    def sum_up(self, summary: dict[str, Any]) -> None:
        """Write the summary as the last line of the logs."""
        line = self.spell(Event(self.now(), "summary", {})) | summary
        if self.log is not None:
            self.log.write(line)
        if self.to_stderr is not None:
            self.to_stderr.log(line)


@asynccontextmanager
async def watching(
    context: Context, archive: Archive, worker: str, plan: Plan, watched: Watched
) -> AsyncIterator[Watchers]:
    """Set up everything that listens to a run; closed again when the context ends."""
    spell = speller(archive.uuid, worker)
    watchers = Watchers(plan, spell, archive.clock.now)
    async with AsyncExitStack() as stack:
        if watched.log_file is not None:
            watchers.log = log = LogFile(watched.log_file)
            stack.callback(_close, context, log)
            watchers.listeners.append(lambda event: log.write(spell(event)))
        if watched.metrics is not None:
            watchers.served = await stack.enter_async_context(_metered(archive, worker, plan, *watched.metrics))
            watchers.listeners.append(watchers.served.listener)
        shown = stack.enter_context(watch(context, archive, spell, watched.log_format))
        watchers.listeners.append(shown)
        if watched.log_format is LogFormat.JSON and not context.json and context.loudness >= 0:
            watchers.to_stderr = context
        yield watchers


@asynccontextmanager
async def _metered(archive: Archive, worker: str, plan: Plan, host: str, port: int) -> AsyncIterator[Served]:
    try:
        from clipledger.metrics.door import serve_metrics
        from clipledger.metrics.meter import Meter
    except ModuleNotFoundError as error:
        raise Misconfigured(f"--metrics-port needs {error.name}: pip install 'clipledger[metrics]'") from None
    meter = Meter(archive.uuid, worker, ",".join(sorted(plan.roles)))
    async with serve_metrics(archive, meter, host, port) as served:
        yield served


def _close(context: Context, log: LogFile) -> None:
    log.close()
    if log.dropped:
        context.warn(f"clipledger: {log.dropped} lines could not be written to the log file")
