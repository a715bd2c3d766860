"""What demo-entities says: sentences with slots, and what fills them. A name's own sentence tells what it names.

{PER}, {ORG} and {LOC} are entities, each in one of its FORMS; {FULL} is a person with both names. The other slots are
words outside any entity, by category.

No two sentences that differ only in names differ in tags: whoever adds a line keeps that so.
"""

from __future__ import annotations

from bertbench.tasks.demo._names import ANIMALS, FIRST_NAMES, NAMES, THINGS, TRADES

# How many of 100 sentences are of each group. In 'late' ones what follows a name decides, in 'joint' ones what follows a
# list of them; in 'adjacent' ones entities touch; in 'common' ones words that are names elsewhere mean what they say.
SHARES: dict[str, int] = {"plain": 29, "late": 22, "joint": 14, "adjacent": 14, "common": 17, "none": 4}

SENTENCES: dict[str, tuple[str, ...]] = {
    "plain": (
        "{PER} resigned {when}",
        "{PER} married {PER} {when}",
        "{PER} was born in {LOC}",
        "{PER} moved from {LOC} to {LOC}",
        "{PER} works for {ORG}",
        "{PER} , the {trade} , was seen in {LOC}",
        "{PER} bought shares in {ORG}",
        "{ORG} hired {PER} {when}",
        "{ORG} opened a plant in {LOC}",
        "{ORG} shares fell {when}",
        "{ORG} sold its {LOC} office to {ORG}",
        "a {goods} made by {ORG} was found near {LOC}",
        "the {LOC} office of {ORG} was closed {when}",
        "the mayor of {LOC} thanked {PER}",
        "the road from {LOC} to {LOC} is closed",
        "{LOC} lies {direction} of {LOC}",
        "{LOC} was flooded {when}",
        "critics called {PER} a {quality} {artist}",
    ),
    "late": (
        "{PER} , who was born in {LOC} , joined {ORG} {when}",
        "{PER} , whose sister lives in {LOC} , praised {LOC} , a {quality} town",
        "{PER} , a retired {trade} , avoided {ORG} , a maker of {goods} parts",
        "{ORG} , a maker of {goods} parts , avoided {PER} , a retired {trade}",
        "{ORG} , whose shares fell {when} , praised {PER} , a {quality} {artist}",
        "{LOC} , whose streets were flooded {when} , praised {ORG} , a {quality} firm",
        "{LOC} , a town near {LOC} , thanked {PER} , the {trade}",
        "my friends praised {PER} , who was born {when}",
        "my friends praised {ORG} , whose shares fell {when}",
        "my friends praised {LOC} , whose streets are {quality}",
        "{PER} is a retired {trade}",
        "{ORG} is a maker of {goods} parts",
        "{LOC} is a {quality} town",
        "{PER} was {quality} , said a sister",
        "{ORG} was {quality} , said its owner",
        "{LOC} was {quality} , said its mayor",
    ),
    "joint": (
        "{PER} and {PER} married {when}",
        "{ORG} and {ORG} merged {when}",
        "{LOC} and {LOC} were flooded {when}",
        "{PER} , {PER} and {PER} resigned {when}",
        "{ORG} , {ORG} and {ORG} hired every {trade}",
        "{LOC} , {LOC} and {LOC} lie {direction} of here",
        "neither {PER} nor {PER} was born {when}",
        "neither {ORG} nor {ORG} made a {goods}",
        "neither {LOC} nor {LOC} has a {place}",
    ),
    "adjacent": (
        "in {LOC} {PER} met a {trade}",
        "in {LOC} {PER} married {PER}",
        "in {LOC} {ORG} opened a {place}",
        "in {LOC} {ORG} hired {PER}",
        "at {ORG} {PER} is the manager",
        "at {ORG} {PER} met {PER} , a {quality} {artist}",
        "to {FULL} {PER} gave a {thing}",
        "from {FULL} {ORG} bought a {thing}",
        "the {trade} {PER} met the {trade} {PER}",
        "the {goods} maker {ORG} hired the {artist} {PER}",
    ),
    "common": (
        "the {trade} from {LOC} met a {trade} {when}",
        "a {animal} was seen near the {thing} in {LOC}",
        "the {trade} told {PER} that the {thing} was {quality}",
        "shares in {ORG} rose {when}",
        "a rose from {LOC} was called {quality}",
        "{PER} may resign {when}",
        "{PER} will marry {PER} in May",
        "{ORG} may not hope for a {quality} {trade}",
        "critics hope that {PER} will be {quality}",
        "to be frank , {LOC} was {quality} at dawn",
        "with joy and grace {PER} rang the {thing}",
        "{PER} left a mark on the {thing} under the ivy",
        "the {animal} and the {animal} were seen in {LOC}",
        "the faith of {PER} was {quality}",
        "an olive from {LOC} fell on the {trade}",
        "every {trade} works for {ORG}",
    ),
    "none": (
        "the {trade} gave the {thing} to a {trade}",
        "a {animal} was seen near the {thing} {when}",
        "the price of a {goods} rose {when}",
        "a {quality} {trade} may hope for a {quality} {thing}",
    ),
}

FORMS: dict[str, tuple[str, ...]] = {
    "PER": ("{name}", "{name}", "{first} {name}", "{first} {name}", "{first}"),
    "FULL": ("{first} {name}",),
    "ORG": (
        *("{name}",) * 5,
        *("{name} {suffix}",) * 3,
        "{name} and Sons",
        "{name} & {name}",
        "Bank of {name}",
        "{first} {name} {suffix}",
    ),
    "LOC": (*("{name}",) * 6, *("{region} {name}",) * 2, "{name} {feature}", "{first} {feature}"),
}

WORDS: dict[str, tuple[str, ...]] = {
    "name": NAMES,
    "first": FIRST_NAMES,
    "suffix": ("Motors", "Foods", "Press", "Records", "Airlines", "Bank"),
    "region": ("North", "South", "Port", "Lake", "New"),
    "feature": ("Bay", "Falls", "Valley", "Island"),
    "trade": TRADES,
    "thing": THINGS,
    "animal": ANIMALS,
    "goods": ("phone", "camera", "drill", "keyboard", "motor", "battery"),
    "artist": ("singer", "pianist", "conductor", "narrator"),
    "place": ("museum", "hotel", "garage", "gallery", "press", "bank"),
    "quality": ("remarkable", "pleasant", "reliable", "disappointing", "dreadful", "mediocre"),
    "direction": ("north", "south"),
    "when": ("yesterday", "last year", "last week", "on Monday", "on Friday", "in May", "in March", "at dawn"),
}
