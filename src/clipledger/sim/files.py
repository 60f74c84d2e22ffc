"""Which files a post has, and which bytes each of them is.

Must not: know links or faults, but for one: a post whose HD file is the smaller one (`hd_smaller`).
"""

from __future__ import annotations

from clipledger.sim.dice import pick, roll
from clipledger.sim.media import PICTURES, Sample
from clipledger.sim.population import Post
from clipledger.sim.reply import FileRef


def wm_is_play(post: Post) -> bool:
    """True for the posts whose `wmplay` is the very link of `play`."""
    return roll(0, "wm", post.id) < 0.3


def refs(post: Post) -> tuple[FileRef, ...]:
    """List all files of a post; sound comes last but for the covers."""
    if post.is_photo:
        files = [FileRef(post.id, "image", "", p) for p in range(1, len(post.slides) + 1)]
        files += [FileRef(post.id, "live", "", p) for p, slide in enumerate(post.slides, 1) if slide.live]
    else:
        qualities = ["hd"] * post.has_hd + ["standard"] + ["watermarked"] * (not wm_is_play(post))
        files = [FileRef(post.id, "video", quality) for quality in qualities]
    covers = [FileRef(post.id, "cover", which) for which in ("cover", "origin", "dynamic")]
    return (*files, FileRef(post.id, "audio"), *covers)


def sample(post: Post, ref: FileRef, *, hd_smaller: bool = False) -> Sample:
    """Return the bytes behind a reference that `refs` gives (or an avatar)."""
    whose = post.clip if post.reposted and ref.kind == "video" else ref.id
    return Sample(_name(post, ref, hd_smaller), f"{whose}:{ref.kind}:{ref.rendition}:{ref.position}")


def has(post: Post, ref: FileRef) -> bool:
    """True when the post has such a file."""
    return ref.kind == "avatar" or ref in refs(post)


def _name(post: Post, ref: FileRef, hd_smaller: bool) -> str:
    match ref.kind:
        case "video":
            large = (ref.rendition == "hd") is not hd_smaller
            return f"{post.clip}-hd.mp4" if large else f"{post.clip}.mp4"
        case "image":
            return post.slides[ref.position - 1].sample
        case "live":
            return f"{post.slides[ref.position - 1].live}.mp4"
        case "audio":
            return post.sound.sample
    return pick(PICTURES[:6], roll(0, "picture", ref.id, ref.kind, ref.rendition))
