"""What the reviews of demo-sentiment are about: ten subjects with their parts and what people say of them.

Every quality can be said of every topic of its subject and is compared with 'more' and 'less'; every topic is a
countable thing or a person. Every quality has one polarity throughout.
"""

from __future__ import annotations

from collections.abc import Mapping

_POSITIVE = ("impressive", "delightful", "pleasant", "appealing", "satisfying", "remarkable")
_NEGATIVE = ("disappointing", "dreadful", "unpleasant", "irritating", "mediocre", "depressing")

_VERBS: dict[str, tuple[str, ...]] = {
    "please+": ("impress", "delight"),
    "please-": ("annoy", "disappoint"),
    "pleased+": ("impressed", "delighted"),
    "pleased-": ("annoyed", "disappointed"),
    "treat+": ("recommend", "praise"),
    "treat-": ("avoid", "criticize"),
}


def _about(subject: str, topics: str, positive: str, negative: str) -> Mapping[str, tuple[str, ...]]:
    return _VERBS | {
        "subject": (subject,),
        "topic": tuple(topics.split()),
        "quality+": (*_POSITIVE, *positive.split()),
        "quality-": (*_NEGATIVE, *negative.split()),
    }


LEXICONS: tuple[Mapping[str, tuple[str, ...]], ...] = (
    _about("film", "plot script cast ending soundtrack", "gripping convincing", "tedious predictable"),
    _about("novel", "opening narrator translation preface heroine", "eloquent amusing", "tiresome incoherent"),
    _about("buffet", "soup curry dessert salad pie", "delicious tempting", "tasteless disgusting"),
    _about("hotel", "room lobby bathroom balcony bed", "comfortable elegant", "uncomfortable neglected"),
    _about("drill", "motor switch handle battery stand", "reliable durable", "unreliable fragile"),
    _about("phone", "screen camera keyboard speaker menu", "responsive useful", "sluggish useless"),
    _about("concert", "singer orchestra pianist choir conductor", "expressive energetic", "listless amateurish"),
    _about("course", "lecture exercise textbook workshop seminar", "helpful inspiring", "boring pointless"),
    _about("garage", "mechanic receptionist manager owner apprentice", "courteous competent", "careless incompetent"),
    _about("museum", "exhibition collection tour gallery guidebook", "fascinating informative", "outdated confusing"),
)
