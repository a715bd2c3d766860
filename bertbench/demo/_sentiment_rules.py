"""The grammar of demo-sentiment: how a review says what it says. See `_grammar` for the notation.

A sentence's polarity is the writer's verdict. Of two clauses joined by 'but' or 'although' the main or later one
gives the verdict, of two joined by 'and' the more intense one. A comparison judges the thing under review, never
its rival.
"""

from __future__ import annotations

# How many of 100 sentences show each phenomenon; the nested ones ask for two or three steps at once.
SHARES: dict[str, int] = {
    "plain": 34,
    "negation": 13,
    "comparison": 12,
    "intensity": 12,
    "contrast": 13,
    "belief": 8,
    "nested": 8,
}

_CLAUSES: dict[str, tuple[str, ...]] = {
    "plain": (
        "the {topic} {is} {quality+}",
        "the {topic} {is} {very} {quality+}",
        "this {subject} {is} {very} {quality+}",
        "the {topic} {pleased+} me",
        "I {would} {treat+} this {subject}",
    ),
    "negation": (
        "the {topic} {is} {not} {quality-}",
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
        "{most} other {subject} has a more {quality-} {topic}",
        "{most} other {subject} has a less {quality+} {topic}",
        "I have {rarely} come across a more {quality+} {topic}",
        "I have {rarely} come across a less {quality-} {topic}",
        "I have {often} come across a more {quality-} {topic}",
        "I have {often} come across a less {quality+} {topic}",
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
        "{statement-}, but {statement+}",
        "{statement-}; {nevertheless}, {statement+}",
        "{although} {statement-}, {statement+}",
        "{statement+}, {although} {statement-}",
        "despite the {quality-} {topic}, {statement+}",
        "{statement+}, despite the {quality-} {topic}",
        "the {topic} would have been {quality-} if the {topic} had not been so {quality+}",
    ),
    "belief": (
        "I {believed} the {topic} to be {quality+}, and I was {right}",
        "I {believed} the {topic} to be {quality-}, but I was {wrong}",
        "{critics} called the {topic} {quality+}, and they were {right}",
        "{critics} called the {topic} {quality-}, but they were {wrong}",
        "I {agree} that {statement+}",
        "I {doubt} that {statement-}",
        "it {is} {true} that {statement+}",
        "it {is} {untrue} that {statement-}",
    ),
    "nested": (
        "{critics} were {right} to {claim} that {clause+}",
        "{critics} were {wrong} to {claim} that {clause-}",
        "{critics} were {right} to {deny} that {clause-}",
        "{critics} were {wrong} to {deny} that {clause+}",
        "{although} {critics} {claim} that {clause-}, {belief+}",
        "{although} {intensity-}, {comparison+}",
        "{comparison-}, but {comparison+}",
        "{belief-}; {nevertheless}, {belief+}",
        "{statement-}; {nevertheless}, {belief+}",
    ),
    "statement": ("{plain+}", "{negation+}"),
    "clause": ("{plain+}", "{negation+}", "{comparison+}"),
}

_INTERCHANGEABLE: dict[str, tuple[str, ...]] = {
    "is": ("is", "was"),
    "would": ("would", "will"),
    "very": ("very", "really", "quite", "certainly"),
    "not": ("not", "never", "by no means", "hardly", "far from", "anything but"),
    "expected": ("expected", "assumed", "thought"),
    "believed": ("believed", "assumed", "expected"),
    "last": ("last", "previous"),
    "most": ("almost every", "nearly every"),
    "rarely": ("rarely", "seldom", "never"),
    "often": ("often", "frequently"),
    "slightly": ("slightly", "somewhat", "a little"),
    "always": ("always", "particularly"),
    "extremely": ("extremely", "absolutely", "incredibly"),
    "never": ("never", "not in the least", "in no way"),
    "although": ("although", "even though"),
    "nevertheless": ("nevertheless", "even so"),
    "critics": ("critics", "my friends", "other reviewers"),
    "right": ("right", "correct"),
    "wrong": ("wrong", "mistaken"),
    "agree": ("agree", "do not doubt"),
    "doubt": ("doubt", "do not agree"),
    "true": ("true", "clear"),
    "untrue": ("untrue", "not true"),
    "claim": ("claim", "say", "believe"),
    "deny": ("deny", "doubt"),
}

RULES: dict[str, tuple[str, ...]] = _CLAUSES | _SENTENCES | _INTERCHANGEABLE
