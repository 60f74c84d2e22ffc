"""Who lives in the simulated world and what was posted: authors, sounds, posts, and what becomes of them.

Every fact is computed from (seed, index) when it is asked for; what is kept is one creation time
per post and one line per author, so a world may hold 100,000 posts and more.
Must not: know HTTP, links, or what goes wrong on the way.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate

from clipledger.sim import names
from clipledger.sim.dice import Draw, number, pick, roll
from clipledger.sim.media import CLIPS, PICTURES, SOUNDS

DAY_S = 86400.0
HISTORY_S = 2 * 365 * DAY_S  # how far back the oldest post lies
AHEAD_S = 7 * DAY_S  # how long after the start posts still appear, die and get renamed authors, unless told
_AHEAD_SHARE = 0.05
_GHOST_SHARE = 0.7  # of the dead posts, how many the lists go on showing
_REPOSTED_CLIP = "dune"  # the one film that all reposts of a world are
_SPREAD = 2654435761  # odd, so that index -> low half of an id can be undone
_UNSPREAD = pow(_SPREAD, -1, 2**32)


@dataclass(frozen=True, slots=True)
class Author:
    """Somebody who posts; `renamed` is the later handle and the second from which it holds."""

    index: int
    id: str
    first_handle: str
    renamed: tuple[str, float] | None
    nickname: str
    region: str

    @property
    def likes_hidden(self) -> bool:
        """True for every third: what they like is nobody's business."""
        return self.index % 3 == 2

    def handle(self, at: float) -> str:
        """Return the handle at `at` (unix seconds)."""
        return self.renamed[0] if self.renamed and at >= self.renamed[1] else self.first_handle


@dataclass(frozen=True, slots=True)
class Sound:
    """A sound; `sample` is the committed file that it plays."""

    id: str
    title: str
    author: str
    sample: str
    original: bool

    @property
    def duration_s(self) -> float:
        """Return how long it plays."""
        return SOUNDS[self.sample]


@dataclass(frozen=True, slots=True)
class Slide:
    """One slide: the file behind its image link (which can be an MP4), and a clip when it is live."""

    sample: str
    live: str | None


@dataclass(frozen=True, slots=True)
class Post:
    """All that is true of one post. Times are unix seconds; `born` = `id >> 32`, `create_time` a little later."""

    index: int
    id: str
    author: Author
    sound: Sound
    born: int
    create_time: int
    clip: str
    slides: tuple[Slide, ...]
    region: str
    words: tuple[str, ...]
    tags: tuple[str, ...]
    title: str
    has_hd: bool
    death: tuple[str, float] | None
    ghost: bool
    fame: float
    recount: tuple[float, float] | None = None
    reposted: bool = False

    @property
    def is_photo(self) -> bool:
        """True for a photo post."""
        return bool(self.slides)

    @property
    def duration_s(self) -> float:
        """Return the clip's duration; 0 for a photo post."""
        return 0.0 if self.slides else CLIPS[self.clip]

    def fate(self, at: float) -> str:
        """Return `alive`, `unborn`, `deleted`, `private` or `region_locked` at `at`."""
        if at < self.create_time:
            return "unborn"
        return self.death[0] if self.death and at >= self.death[1] else "alive"

    def listed(self, at: float) -> bool:
        """True when lists show it at `at`: they go on showing many of the dead."""
        fate = self.fate(at)
        return fate == "alive" or (fate != "unborn" and self.ghost)

    def counters(self, at: float) -> dict[str, int]:
        """Return the public counters at `at`: they grow, fast at first; a recount takes a share of them away."""
        age = max(at - self.create_time, 0.0)
        cap = 10.0 ** (1.5 + 8.2 * self.fame)
        play = cap * (age / (age + 2 * DAY_S)) + age / 3600.0
        if self.recount is not None and at >= self.recount[0]:
            play *= 1.0 - self.recount[1]
        shares = (1.0, 0.09, 0.004, 0.006, 0.003, 0.008)
        return {name: int(play * share) for name, share in zip(names.COUNTS, shares, strict=True)}


class Population:
    """Everybody and everything in a world of `posts` posts. `shares`: how many are deleted, private, renamed ..."""

    def __init__(
        self,
        seed: int,
        posts: int,
        start: float,
        shares: Mapping[str, float],
        *,
        photo_share: float = 0.1,
        ahead_s: float = AHEAD_S,
    ) -> None:
        self._ahead_s = ahead_s
        self.seed = seed
        self.size = posts
        self.start = start
        self._shares = shares
        self._photo_share = photo_share
        self.authors = tuple(self._author(a) for a in range(max(3, posts // 30)))
        self.sounds = tuple(self._sound(s) for s in range(max(4, posts // 40)))
        self.tags = {tag: str(1009 + 37 * t) for t, tag in enumerate(names.TAGS)}
        weights = accumulate(1.0 / (a + 2) for a in range(len(self.authors)))
        self._bounds = _scaled([0.0, *weights], posts)
        self._salt = number(seed, "ids") % 2**32
        self._created = array("q", (self._creation(i) for i in range(posts)))
        self._by_author_id = {author.id: author for author in self.authors}
        self._by_handle = {author.first_handle: author for author in self.authors}
        self._by_handle |= {author.renamed[0]: author for author in self.authors if author.renamed}
        self._by_sound_id = {sound.id: sound for sound in self.sounds}
        self._index: dict[str, dict[str, list[int]]] = {}
        self.post = lru_cache(maxsize=4096)(self._post)
        self.of_author = lru_cache(maxsize=512)(self._of_author)

    def find(self, post_id: str) -> Post | None:
        """Return the post with an id, also an unborn or dead one."""
        if not (post_id.isascii() and post_id.isdigit() and len(post_id) <= 20):
            return None
        born, low = divmod(int(post_id), 2**32)
        index = (low - self._salt) * _UNSPREAD % 2**32
        if index >= self.size or self._created[index] >> 8 != born:
            return None
        return self.post(index)

    def short_code(self, post: Post) -> str:
        """Return the code of a post's short link."""
        return f"ZM{int(post.id) % 2**32:08x}"

    def find_short(self, code: str, at: float) -> Post | None:
        """Return the post behind a short link's code; nobody has a link to one that is still to be made at `at`."""
        if len(code) != 10 or not code.startswith("ZM") or set(code[2:]) - set("0123456789abcdef"):
            return None
        index = (int(code[2:], 16) - self._salt) * _UNSPREAD % 2**32
        post = self.post(index) if index < self.size else None
        return post if post and post.fate(at) != "unborn" else None

    def author_of_id(self, author_id: str) -> Author | None:
        """Return the author with a numeric id."""
        return self._by_author_id.get(author_id)

    def author_called(self, handle: str, at: float) -> Author | None:
        """Return who bears a handle at `at`; a handle given up is nobody's."""
        author = self._by_handle.get(handle.lower())
        return author if author and author.handle(at) == handle.lower() else None

    def sound_of_id(self, sound_id: str) -> Sound | None:
        """Return the sound with an id."""
        return self._by_sound_id.get(sound_id)

    def with_tag(self, tag: str) -> Sequence[int]:
        """Return the indices of the posts with a tag (no `#`), in no special order."""
        return self._indexed("tag").get(tag, [])

    def with_sound(self, sound_id: str) -> Sequence[int]:
        """Return the indices of the posts with a sound, in no special order."""
        return self._indexed("sound").get(sound_id, [])

    def with_words(self, text: str) -> Sequence[int]:
        """Return the indices of the posts whose title holds every word of `text`."""
        words = [self._indexed("word").get(word, []) for word in text.lower().replace("#", " ").split()]
        if not words:
            return []
        return sorted(set(words[0]).intersection(*words[1:]))

    def create_time(self, index: int) -> int:
        """Return a post's create_time without computing the rest of it."""
        packed = self._created[index]
        return (packed >> 8) + (packed & 0xFF)

    def _of_author(self, author: int) -> tuple[int, ...]:
        mine = range(self._bounds[author], self._bounds[author + 1])
        return tuple(sorted(mine, key=lambda i: (-self.create_time(i), i)))

    def _indexed(self, what: str) -> dict[str, list[int]]:
        if not self._index:
            found: dict[str, dict[str, list[int]]] = {k: defaultdict(list) for k in ("tag", "sound", "word")}
            for index in range(self.size):
                post = self._post(index)
                found["sound"][post.sound.id].append(index)
                for tag in post.tags:
                    found["tag"][tag].append(index)
                for word in {*post.words, *post.tags}:
                    found["word"][word].append(index)
            self._index = {key: dict(row) for key, row in found.items()}
        return self._index[what]

    def _creation(self, index: int) -> int:
        """Pack `born` and the lag of create_time behind it (1..55 s, median 6, as captured) into one number."""
        draw = Draw(self.seed, "born", index)
        if draw[0] < _AHEAD_SHARE:
            born = self.start + draw[1] * self._ahead_s
        else:
            born = self.start - 60.0 - draw[1] ** 3 * HISTORY_S  # denser towards today
        return int(born) << 8 | 1 + int(54 * draw[2] ** 3.3)

    def _post(self, index: int) -> Post:
        draw = Draw(self.seed, "post", index)
        packed = self._created[index]
        born, create_time = packed >> 8, (packed >> 8) + (packed & 0xFF)
        author = self.authors[bisect_right(self._bounds, index) - 1]
        tags = tuple(dict.fromkeys(pick(names.TAGS, draw[k] ** 2) for k in (0, 1, 2)))[: 1 + int(3 * draw[3])]
        words = (pick(names.WORDS, draw[4]), pick(names.WORDS, draw[5]))
        reposted = roll(self.seed, "reposted", index) < self._shares.get("reposted", 0.0)
        title = pick(names.GLUE, draw[6]).format(*words) + "".join(f" #{tag}" for tag in tags)
        return Post(
            index=index,
            id=str(born << 32 | (index * _SPREAD + self._salt) % 2**32),
            author=author,
            sound=self.sounds[int(draw[7] ** 2 * len(self.sounds))],
            born=born,
            create_time=create_time,
            clip=_REPOSTED_CLIP if reposted else pick(tuple(CLIPS), draw[8]),
            slides=self._slides(index) if draw[9] < self._photo_share and not reposted else (),
            region=author.region if draw[10] < 0.9 else "",
            words=words,
            tags=tags,
            title=title if draw[11] > 0.03 else "",
            has_hd=draw[12] < 0.85 or reposted,
            death=self._death(index, create_time),
            ghost=draw[14] < _GHOST_SHARE,
            fame=draw[15] ** 2,
            recount=self._recount(index, create_time),
            reposted=reposted,
        )

    def _slides(self, index: int) -> tuple[Slide, ...]:
        slides, live_post = [], roll(self.seed, "live", index) < 0.25
        for position in range(1 + int(6 * roll(self.seed, "slides", index) ** 1.5)):
            draw = Draw(self.seed, "slide", index, position)
            still = f"{pick(tuple(CLIPS), draw[1])}.mp4" if draw[0] < 0.05 else pick(PICTURES, draw[1])
            slides.append(Slide(still, pick(tuple(CLIPS), draw[2]) if live_post and draw[3] < 0.5 else None))
        return tuple(slides)

    def _recount(self, index: int, create_time: int) -> tuple[float, float] | None:
        draw = Draw(self.seed, "recount", index)
        if draw[0] >= self._shares.get("recounted", 0.0):
            return None
        return max(float(create_time), self.start) + draw[1] * self._ahead_s, 0.1 + 0.4 * draw[2]

    def _death(self, index: int, create_time: int) -> tuple[str, float] | None:
        draw = Draw(self.seed, "death", index)
        kinds = accumulate(self._shares.get(kind, 0.0) for kind in ("deleted", "private", "region_locked"))
        kind = next((k for k, upto in enumerate(kinds) if draw[0] < upto), None)
        if kind is None:
            return None
        if create_time < self.start - DAY_S and draw[1] < 0.6:
            at = max(create_time + 60.0, self.start - draw[2] * 30 * DAY_S)
        else:
            at = max(float(create_time), self.start) + draw[2] * self._ahead_s
        return ("deleted", "private", "region_locked")[kind], at

    def _author(self, index: int) -> Author:
        draw = Draw(self.seed, "author", index)
        first, second = pick(names.FIRST, draw[0]), pick(names.SECOND, draw[1])
        before, after = pick(names.TRIMMINGS, draw[2])
        handle = names.SPECIAL_HANDLES.get(index, f"{before}{first}{second}{index}{after}")
        renamed = None
        if draw[3] < self._shares.get("renamed", 0.0):
            renamed = (f"{second}.{first}{index}", self.start + draw[4] * self._ahead_s)
        long_id = (1_500_000_000 + int(draw[5] * 1.4e8)) << 32 | 0x68000000 + index
        return Author(
            index=index,
            id=str(long_id if draw[6] > 0.05 else 100_003 + 7 * index),
            first_handle=handle,
            renamed=renamed,
            nickname=pick(names.NICKNAMES, draw[7]).format(first.title(), second.title()),
            region=pick(tuple(names.REGIONS), draw[8] ** 2),
        )

    def _sound(self, index: int) -> Sound:
        draw = Draw(self.seed, "sound", index)
        author = f"{pick(names.FIRST, draw[0])} {pick(names.SECOND, draw[1])}"
        return Sound(
            id=str((1_550_000_000 + int(draw[2] * 1e8)) << 32 | 0x31000000 + index),
            title=pick(names.SONGS, draw[3]).format(*author.split()),
            author=author if draw[4] > 0.1 else "",
            sample=pick(tuple(SOUNDS), draw[5]),
            original=draw[3] < 0.5,
        )


def _scaled(sums: Sequence[float], posts: int) -> list[int]:
    """Turn running sums of weights into the first index of each author, and one past the last."""
    return [round(upto / sums[-1] * posts) for upto in sums]
