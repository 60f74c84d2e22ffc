"""Where everything stands, who is at work; pause, resume, and work here."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, StringConstraints

from clipledger.acts import pausing
from clipledger.web.desk import AsVisitor, AtDesk, Desk
from clipledger.web.reading.now import Now, now_of

router = APIRouter(tags=["system"])


class MembersOut(BaseModel):
    """Processes at work, with what each does."""

    members: list[dict[str, Any]]


class PauseIn(BaseModel):
    """Why everything is to pause."""

    model_config = ConfigDict(extra="forbid")

    reason: Annotated[str, StringConstraints(max_length=500)] = ""


class PausedOut(BaseModel):
    """Whether the archive is paused now."""

    paused: bool


class WorkersOut(BaseModel):
    """What the workers of the serving process do: idle, working, stopping; why they ended last."""

    state: str
    why: str


@router.get("/now")
async def now(desk: AtDesk) -> Now:
    """Tell where everything stands: the figures and the sentence of the first page."""
    return now_of((await desk.pulse.latest()).status)


@router.get("/status")
async def status(desk: AtDesk) -> dict[str, Any]:
    """Tell where everything stands: the document of `clipledger --json status`."""
    return (await desk.pulse.latest()).status


@router.get("/members")
async def members(desk: AtDesk) -> MembersOut:
    """List the processes at work on the archive, wherever they run."""
    return MembersOut(members=(await desk.pulse.latest()).status["members"])


@router.post("/pause")
async def pause(archive: AsVisitor, body: PauseIn) -> PausedOut:
    """Hold the whole archive: every process finishes what is under way, then waits."""
    await pausing.pause(archive, body.reason)
    return PausedOut(paused=True)


@router.post("/resume")
async def resume(archive: AsVisitor) -> PausedOut:
    """Let the whole archive go on."""
    await pausing.resume(archive)
    return PausedOut(paused=False)


@router.get("/workers")
async def workers(desk: AtDesk) -> WorkersOut:
    """Tell what the workers of the serving process do."""
    return _workers(desk)


@router.post("/workers/start")
async def start(desk: AtDesk, archive: AsVisitor) -> WorkersOut:
    """Begin to work in the serving process, as `run --follow` does; needs the API key in its environment."""
    await desk.workers.begin(archive)
    return _workers(desk)


@router.post("/workers/stop")
async def stop(desk: AtDesk, archive: AsVisitor) -> WorkersOut:
    """Finish what is under way in the serving process, then stop; asked again, drop it at once."""
    await desk.workers.rest(archive)
    return _workers(desk)


def _workers(desk: Desk) -> WorkersOut:
    standing = desk.workers.standing
    return WorkersOut(state=standing.state, why=standing.why)
