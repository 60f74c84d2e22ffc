"""The words of the simulated world: handles, tags, titles, regions. All invented.

The lists hold the awkward ones on purpose: leading dots, unicode tags, names that look like paths.
"""

from __future__ import annotations

REGIONS = {
    "US": "United States",
    "GB": "United Kingdom",
    "DE": "Germany",
    "BR": "Brazil",
    "JP": "Japan",
    "TR": "Türkiye",
    "ID": "Indonesia",
    "EG": "Egypt",
}

FIRST = ("mossy", "quiet", "tiny", "lunar", "salty", "amber", "brisk", "dusty", "velvet", "rusty", "polar", "honey")
SECOND = ("otter", "kettle", "pixel", "comet", "walnut", "harbor", "meadow", "lantern", "pepper", "canyon", "button")

# What comes before and after a made-up handle; the empty pair is the common one.
TRIMMINGS = (("", ""), ("", ""), ("", ""), ("", "_"), ("_", ""), (".", ""), ("", ".tv"), ("..", ""), ("the.", ""))

# The first authors, who post most: one ordinary name, then the ones that break paths.
SPECIAL_HANDLES = {0: "mossyotter", 1: "..", 2: ".hidden.kettle"}

NICKNAMES = ("{0} {1}", "{0} 🌿 {1}", "𝗧𝗵𝗲 {1}", "{1}さん", "", "د {0}", "{0}\u200d{1}")

TAGS = (
    "dance", "cats", "recipe", "travel", "diy", "football", "learnontiktok", "garden", "vintage", "satisfying",
    "踊ってみた", "تصميمي", "çiçek", "приготовление", "🐈", "fyp", "skate_park", "math101", "ocean", "bakery",
)  # fmt: skip

WORDS = (
    "sunrise", "noodles", "guitar", "puppy", "subway", "sourdough", "marathon", "thrift", "lighthouse", "tomato",
    "origami", "thunder", "piano", "bicycle", "kitchen", "island", "robot", "candle", "winter", "mural",
)  # fmt: skip

GLUE = (
    "{0} and {1}",
    "how I {0} the {1} 😂",
    "{0}?? {1}!",
    "the {0} nobody told you of\n{1}",
    "{0} → {1}",
    "{0} {1}",
)

SONGS = (
    "original sound - {0}",
    "Slow {1}",
    "{1} (Sped Up)",
    "originalljud",
    "son original - {0}",
    "オリジナル楽曲 - {0}",
)

COUNTS = ("play", "digg", "comment", "share", "download", "collect")
