"""The grammar of demo-sentiment: how a review says what it says. See `_grammar` for the notation.

A sentence's polarity is the writer's verdict. Of two clauses joined by 'but' or 'although' the main or later one
gives the verdict, of two joined by 'and' the more intense one. A comparison judges the thing under review, never
its rival.
"""

from __future__ import annotations

# How many of 100 sentences show each phenomenon. The many plain ones teach the words' polarity, without which models of
# this size stay at chance; the nested ones ask for several steps at once and keep every model from being perfect.
SHARES: dict[str, int] = {
    "plain": 22,
    "negation": 14,
    "comparison": 14,
    "intensity": 11,
    "contrast": 17,
    "belief": 16,
    "nested": 6,
}

_CLAUSES: dict[str, tuple[str, ...]] = {
    "plain": (
        "the {topic} {seems} {quality+}",
        "the {topic} {seems} {very} {quality+}",
        "this {subject} {seems} {very} {quality+}",
        "the {topic} {pleased+} me",
        "I {would} {treat+} this {subject}",
    ),
    "negation": (
        "the {topic} {is} {not} {quality-}",
        "this {subject} {is} {not} {quality-}",
        "the {topic} did not {please-} me",
        "the {topic} never failed to {please+} me",
        "the {topic} failed to {please-} me",
        "I {would} not {treat-} this {subject}",
        "nobody would call the {topic} {quality-}",
    ),
    "comparison": (
        "the {topic} {is} more {quality+} than I had {expected}",
        "the {topic} {is} less {quality-} than I had {expected}",
        "this {subject} {is} more {quality+} than the {last} one",
        "this {subject} {is} less {quality-} than the {last} one",
        "the {last} {subject} was more {quality-} than this one",
        "the {last} {subject} was less {quality+} than this one",
        "no other {subject} has a more {quality+} {topic}",
        "no other {subject} has a less {quality-} {topic}",
        "almost every other {subject} has a more {quality-} {topic}",
        "almost every other {subject} has a less {quality+} {topic}",
        "I have {rarely} come across a more {quality+} {topic}",
        "I have often come across a more {quality-} {topic}",
    ),
    "weak": (
        "the {topic} {is} {slightly} {quality+}",
        "the {topic} {is} not {always} {quality-}",
    ),
    "strong": (
        "the {topic} {is} {extremely} {quality+}",
        "the {topic} {is} {never} {quality-}",
    ),
}

_SENTENCES: dict[str, tuple[str, ...]] = {
    "intensity": (
        "{weak-} and {strong+}",
        "{strong+} and {weak-}",
        "{weak-}, while {strong+}",
        "{strong+}, while {weak-}",
    ),
    "contrast": (
        "{plain-}, but {plain+}",
        "{plain-}; {nevertheless}, {plain+}",
        "although {plain-}, {plain+}",
        "{plain+}, even though {plain-}",
        "despite the {quality-} {topic}, {statement+}",
        "{statement+}, despite the {quality-} {topic}",
        "the {topic} would have been {quality-} if the {topic} had not been so {quality+}",
    ),
    "belief": (
        "{critics} called the {topic} {quality+}, and they were right",
        "{critics} called the {topic} {quality-}, but they were wrong",
        "I agree that {plain+}",
        "I doubt that {plain-}",
    ),
    "nested": (
        "{negation-}, but {clause+}",
        "although {negation-}, {clause+}",
        "{comparison-}; {nevertheless}, {comparison+}",
        "{statement-}; {nevertheless}, {belief+}",
        "{comparison+}, even though {intensity-}",
        "I agree that {negation+}",
        "I doubt that {negation-}",
        "{critics} were right to {claim} that {report+}",
        "{critics} were wrong to {claim} that {report-}",
        "{critics} were right to {deny} that {report-}",
        "{critics} were wrong to {deny} that {report+}",
    ),
    "report": (
        "the {topic} {is} {not} {quality-}",
        "nobody would call the {topic} {quality-}",
        "this {subject} {is} more {quality+} than the {last} one",
        "this {subject} {is} less {quality-} than the {last} one",
        "no other {subject} has a more {quality+} {topic}",
        "almost every other {subject} has a more {quality-} {topic}",
    ),
    "statement": ("{plain+}", "{negation+}"),
    "clause": ("{plain+}", "{negation+}", "{comparison+}"),
}

_INTERCHANGEABLE: dict[str, tuple[str, ...]] = {
    "is": ("is", "was"),
    "seems": ("is", "was", "seems", "seemed"),
    "would": ("would", "will"),
    "very": ("very", "really", "quite", "truly"),
    "not": ("not", "hardly", "far from", "anything but"),
    "expected": ("expected", "thought"),
    "last": ("last", "previous"),
    "rarely": ("rarely", "seldom"),
    "slightly": ("slightly", "somewhat"),
    "always": ("always", "particularly"),
    "extremely": ("extremely", "absolutely"),
    "never": ("in no way", "not in the least"),
    "nevertheless": ("nevertheless", "even so"),
    "critics": ("critics", "my friends"),
    "claim": ("claim", "say"),
    "deny": ("deny", "doubt"),
}

RULES: dict[str, tuple[str, ...]] = _CLAUSES | _SENTENCES | _INTERCHANGEABLE
