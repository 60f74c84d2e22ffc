"""The JSON objects of the API, shape by shape: a post in detail and in a list, people, tags, sounds.

Written from the documented table and its traps; what is bent further comes from `shapes`.
Must not: choose which posts are shown, or know HTTP.
"""

from __future__ import annotations

from typing import Any

from clipledger.sim import files, names
from clipledger.sim.dice import number, pick, roll
from clipledger.sim.faults import Door
from clipledger.sim.links import FOREIGN_HOST, IMAGE_HOSTS, SOUND_HOSTS, VIDEO_HOSTS, Form
from clipledger.sim.media import M4A
from clipledger.sim.population import Author, Post, Sound
from clipledger.sim.reply import FileRef
from clipledger.sim.scene import Scene
from clipledger.sim.shapes import bend

Body = dict[str, Any]

HOUR_S = 3600.0
IMAGE_LIFE_S = 24 * HOUR_S


class Bodies:
    """Writes bodies for one scene, as of its present moment."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene

    def detail(self, post: Post, nth: int, *, straight: bool = False) -> Body:
        """Write the body of /post-detail/; `nth` tells repeated calls apart, `straight` leaves all shapes alone."""
        links = _Links(self._scene, post, f"detail/{nth}")
        body: Body = {
            "id": post.id,
            **self._front(post, links),
            **(self._sound_play(post, links) if post.is_photo else self._video_play(post, links)),
            **self._middle(post, links),
            **self._counts(post, collect=True),
            "create_time": post.create_time,
            "is_ad": False,
            "commerce_info": {"adv_promotable": False, "auction_ad_invited": False, "branded_content_type": 0},
            "author": self._author(post.author, links),
            "images": self._images(post, links),
        }
        if any(slide.live for slide in post.slides):
            body["live_images"] = self._live_images(post, links)
        return body if straight else bend(body, self._struck(post, f"detail/{nth}"), post, is_detail=True)

    def item(self, post: Post, page: str, *, pinned: bool = False, is_ad: bool = False) -> Body:
        """Write a post as a list shows it; `page` names the page, for the dice."""
        links = _Links(self._scene, post, page)
        play = {} if post.is_photo else self._video_play(post, links)
        body: Body = {
            "aweme_id": "" if post.is_photo else f"v15044gf0000d{number(0, 'uri', post.id):016x}"[:32],
            "video_id": post.id,
            **self._front(post, links),
            "content_desc": [],
            "play": "",
            "wmplay": self._audio_link(post, links) if post.is_photo else "",
            "size": 0,
            "wm_size": 0,
            **{key: value for key, value in play.items() if key not in ("hdplay", "hd_size")},
            **self._middle(post, links),
            **self._counts(post, collect=not page.startswith("search:")),
            "create_time": post.create_time,
            "anchors": None,
            "is_ad": is_ad,
            "author": self._author(post.author, links),
            "is_top": int(pinned),
        }
        if post.is_photo:
            body["images"] = self._images(post, links)
            if any(slide.live for slide in post.slides):
                body["live_images"] = self._live_images(post, links)
        return bend(body, self._struck(post, page), post, is_detail=False)

    def downloads(self, post: Post, nth: int) -> Body:
        """Write the body of /download-video/."""
        play = {} if post.is_photo else self._video_play(post, _Links(self._scene, post, f"download/{nth}"))
        return {"video": play.get("play", ""), "video_hd": play.get("hdplay") or ""}

    def user(self, author: Author) -> Body:
        """Write the body of the user info endpoints."""
        mine = self._scene.population.of_author(author.index)
        hearts = number(self._scene.seed, "hearts", author.id) % 10**8
        stats = {
            "followingCount": 7,
            "followerCount": hearts // 31,
            "heartCount": hearts,
            "videoCount": sum(self._scene.population.create_time(i) <= self._scene.now() for i in mine),
            "diggCount": 0,
        }
        user: Body = {
            "id": author.id,
            "uniqueId": author.handle(self._scene.now()),
            "nickname": author.nickname,
            "avatarThumb": f"{self._scene.signer.base_url}/avatar/{author.id}.jpeg",
            "signature": "",
            "verified": hearts % 10 == 0,
            "secUid": f"MS4wLjABAAAA{number(0, 'sec', author.id):016x}",
            "privateAccount": False,
        }
        if roll(self._scene.seed, "stats", author.id) < 0.2:
            return {"user": {**user, "stats": stats}}
        return {"user": user, "stats": stats}

    def tag(self, name: str) -> Body:
        """Write the body of the challenge info endpoints."""
        users = 1000 + len(self._scene.population.with_tag(name))
        return {
            "id": self._scene.population.tags[name],
            "cha_name": name,
            "desc": "",
            "user_count": users,
            "view_count": users * 6_814_003,
            "is_commerce": False,
            "type": 1,
            "cover": "",
        }

    def sound(self, sound: Sound, link: str = "") -> Body:
        """Write a `music_info` object, also the body of /music-info/."""
        return {
            "id": sound.id,
            "title": sound.title,
            "play": link,
            "cover": f"{self._scene.signer.base_url}/cover/{sound.id}.jpeg",
            "author": sound.author,
            "original": sound.original,
            "duration": int(sound.duration_s),
            "album": "",
        }

    def _struck(self, post: Post, page: str) -> frozenset[str]:
        return self._scene.struck(Door.SHAPE, post.id, page)

    def _front(self, post: Post, links: _Links) -> Body:
        front: Body = {"region": post.region} if post.region else {}
        return front | {
            "title": post.title,
            "cover": links.image("cover", "cover"),
            "ai_dynamic_cover": links.image("cover", "dynamic"),
            "origin_cover": links.image("cover", "origin"),
            "duration": int(post.duration_s),
        }

    def _video_play(self, post: Post, links: _Links) -> Body:
        play = links.video("standard")
        same = files.wm_is_play(post)
        body: Body = {
            "play": play,
            "wmplay": play if same else links.video("watermarked"),
            "size": links.size("standard"),
            "wm_size": links.size("standard") if same else links.size("watermarked"),
        }
        if post.has_hd:
            body |= {"hdplay": links.video("hd"), "hd_size": links.size("hd")}
        elif roll(0, "no hd", post.id) < 0.5:
            body |= {"hdplay": "", "hd_size": 0}
        return body

    def _sound_play(self, post: Post, links: _Links) -> Body:
        audio = self._audio_link(post, links)
        return {"play": audio, "wmplay": audio, "hdplay": audio, "size": 0, "wm_size": 0, "hd_size": 0}

    def _audio_link(self, post: Post, links: _Links) -> str:
        mime = "audio_mp4" if files.sample(post, FileRef(post.id, "audio")).media_type == M4A else "audio_mpeg"
        return links.signed(FileRef(post.id, "audio"), mime)

    def _middle(self, post: Post, links: _Links) -> Body:
        fate = roll(0, "sound", post.id)
        link = links.music() if fate >= 0.05 else ""
        body: Body = {"music": link, "music_info": self.sound(post.sound, link)}
        if fate > 0.97:
            body["music_info"] = None
        return body

    def _counts(self, post: Post, *, collect: bool) -> Body:
        counters = post.counters(self._scene.now())
        return {f"{name}_count": counters[name] for name in names.COUNTS if collect or name != "collect"}

    def _author(self, author: Author, links: _Links) -> Body:
        return {
            "id": author.id,
            "unique_id": author.handle(self._scene.now()),
            "nickname": author.nickname,
            "avatar": links.image("avatar", ""),
        }

    def _images(self, post: Post, links: _Links) -> list[str] | None:
        return [links.image("image", "", p) for p in range(1, len(post.slides) + 1)] or None

    def _live_images(self, post: Post, links: _Links) -> list[str | None]:
        return [
            links.signed(FileRef(post.id, "live", "", p), "video_mp4") if slide.live else None
            for p, slide in enumerate(post.slides, 1)
        ]


class _Links:
    """All links of one reply about one post: they share their form, their birth and their faults."""

    def __init__(self, scene: Scene, post: Post, page: str) -> None:
        self._scene, self._post = scene, post
        self._host = roll(scene.seed, "host", post.id)
        self._form = pick((Form.PATH,) * 14 + (Form.EXPIRE,) * 3 + (Form.VEXPIRATION,) * 3, roll(0, "form", post.id))
        self._life_s = (6 if roll(scene.seed, "life", post.id) < 0.9 else 24) * HOUR_S
        self._early_s, self._image_life_s = 0.0, IMAGE_LIFE_S
        self._faults = frozenset() if scene.patient(post.id) else scene.struck(Door.LINK, post.id, page)
        self._smaller = "hd_smaller" in scene.struck(Door.HD, post.id)
        self._shorten(page.startswith("detail/"))

    def video(self, quality: str) -> str:
        """Return a link to a rendition; a foreign one for HD under that fault."""
        link = self.signed(FileRef(self._post.id, "video", quality), "video_mp4")
        if quality == "hd" and "foreign_host" in self._faults:
            return f"https://{FOREIGN_HOST}/hd/{self._post.id}.mp4"
        return link

    def signed(self, ref: FileRef, mime: str) -> str:
        """Return a signed link of the post's own form."""
        now = self._scene.now()
        return self._scene.signer.sign(
            ref,
            pick(VIDEO_HOSTS, self._host),
            self._form,
            now=now,
            life_s=self._life_s,
            mime=mime,
            early_s=self._early_s,
        )

    def image(self, kind: str, rendition: str, position: int = 0) -> str:
        """Return a signed image link."""
        ref = FileRef(self._post.id, kind, rendition, position)
        now = self._scene.now()
        return self._scene.signer.sign(
            ref, pick(IMAGE_HOSTS, self._host), Form.IMAGE, now=now, life_s=self._image_life_s
        )

    def music(self) -> str:
        """Return the sound's link, which carries no date."""
        ref = FileRef(self._post.id, "audio")
        return self._scene.signer.sign(ref, pick(SOUND_HOSTS, self._host), Form.PLAIN, now=0.0, life_s=0.0)

    def size(self, quality: str) -> int:
        """Return the true size in bytes of a rendition."""
        ref = FileRef(self._post.id, "video", quality)
        return files.sample(self._post, ref, hd_smaller=self._smaller).size_bytes

    def _shorten(self, counted: bool) -> None:
        plan = self._scene.plan
        if "expired_at_birth" in self._faults:
            self._life_s = self._image_life_s = -120.0
        elif "short_lived" in self._faults:
            self._life_s = self._image_life_s = plan.amount("short_lived")
        elif "dies_early" in self._faults:
            self._early_s = plan.amount("dies_early")
        else:
            return
        if counted:
            self._scene.failed(self._post.id)
