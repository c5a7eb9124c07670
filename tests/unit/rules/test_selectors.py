"""Label selectors: Kubernetes' own grammar, read and applied as the API server does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from samply_operator.errors import SettingsError
from samply_operator.rules.discovery.selectors import MAX_COMPLEMENT, complement, is_selected, matches, parse_selector

LABELS = {"app": "feldera", "tier": "", "example.com/Team_1": "a.b-c"}


@pytest.mark.parametrize(
    ("text", "is_match"),
    [
        ("", True),
        (" ", True),
        ("app", True),
        ("nope", False),
        ("!app", False),
        ("!nope", True),
        ("! nope", True),
        ("app=feldera", True),
        ("app==feldera", True),
        ("app = feldera", True),
        ("app=other", False),
        ("app!=feldera", False),
        ("app!=other", True),
        ("nope!=x", True),
        ("nope=", False),
        ("tier=", True),
        ("tier!=", False),
        ("app in (feldera)", True),
        ("app in (a, feldera ,b)", True),
        ("app in(feldera)", True),
        ("app  in  (feldera)", True),
        ("app in (a,b)", False),
        ("app notin (a,b)", True),
        ("app notin (feldera,b)", False),
        ("nope notin (a)", True),
        ("nope in (a)", False),
        ("tier in ()", True),
        ("app in ()", False),
        ("example.com/Team_1=a.b-c", True),
        ("app=feldera,tier", True),
        (" app = feldera , !nope , tier in (,x) ", True),
        ("app=feldera,tier=x", False),
        ("in", False),
        ("notin in (a)", False),
    ],
)
def test_a_selector_selects_as_kubernetes_does(text: str, is_match: bool) -> None:
    """All terms must hold; a negated term also holds where the key is absent."""
    assert matches(parse_selector(text), LABELS) is is_match


@pytest.mark.parametrize(
    "text",
    [
        "=",
        "app=feldera tier",
        "app=a=b",
        ",app",
        "app,,tier",
        "app,",
        "app in",
        "app in a",
        "app in (a",
        "app in (a))",
        "app in (a b)",
        "app in (a,é)",
        "app notin",
        "!app=feldera",
        "!",
        "app>1",
        "-app",
        "app=é",
        "éa=b",
        "app=(a)",
    ],
)
def test_a_selector_that_cannot_be_read_is_refused_with_its_text(text: str) -> None:
    """A typo must not select everything, nor something else."""
    with pytest.raises(SettingsError, match="label selector") as caught:
        parse_selector(text)
    assert repr(text) in caught.value.message
    assert caught.value.remedy


KEYS = st.from_regex(r"[A-Za-z0-9](?:[A-Za-z0-9._/-]{0,10}[A-Za-z0-9])?", fullmatch=True)
VALUES = st.from_regex(r"(?:[A-Za-z0-9](?:[A-Za-z0-9._-]{0,10}[A-Za-z0-9])?)?", fullmatch=True)
LABEL_SETS = st.dictionaries(KEYS, VALUES, max_size=4)
TERMS = st.one_of(
    st.tuples(KEYS, st.sampled_from(["exists", "absent"]), st.just(())),
    st.tuples(KEYS, st.sampled_from(["=", "==", "!="]), st.tuples(VALUES)),
    st.tuples(KEYS, st.sampled_from(["in", "notin"]), st.lists(VALUES, min_size=1, max_size=3).map(tuple)),
)
Term = tuple[str, str, tuple[str, ...]]


def write(term: Term) -> str:
    key, operator, values = term
    match operator:
        case "exists":
            return key
        case "absent":
            return f"!{key}"
        case "in" | "notin":
            return f"{key} {operator} ({','.join(values)})"
        case _:
            return f"{key}{operator}{values[0]}"


def holds(term: Term, labels: dict[str, str]) -> bool:
    """Straight from the documentation's words."""
    key, operator, values = term
    match operator:
        case "exists":
            return key in labels
        case "absent":
            return key not in labels
        case "=" | "==" | "in":
            return key in labels and labels[key] in values
        case _:
            return key not in labels or labels[key] not in values


@given(st.lists(TERMS, max_size=4), LABEL_SETS)
def test_any_selector_that_can_be_written_is_read_back_with_its_meaning(
    terms: list[Term], labels: dict[str, str]
) -> None:
    """Whatever its terms are, and in whatever order."""
    assert matches(parse_selector(",".join(map(write, terms))), labels) == all(holds(term, labels) for term in terms)


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never another exception, never an endless loop."""
    try:
        parse_selector(text)
    except SettingsError:
        return


@pytest.mark.parametrize(
    ("texts", "others"),
    [
        ([], [""]),
        ([""], []),
        (["app=feldera"], ["app notin (feldera)"]),
        (["app=feldera", "part"], ["app notin (feldera),!part"]),
        (["app=a,tier!=b"], ["app notin (a)", "app in (a),tier in (b)"]),
        (["app", "app"], ["!app"]),
        (["a,b,c", "d,e"], [""]),
    ],
)
def test_what_selectors_leave_out(texts: list[str], others: list[str]) -> None:
    """Each selector for one combination of a requirement per selector; too many combinations: everything."""
    assert list(complement(texts)) == others


TERMS = st.sampled_from(
    ["app", "!app", "app=a", "app!=a", "app in (a,b)", "app notin (b,c)", "tier", "tier=x", "!tier"]
)
VALUES = st.none() | st.sampled_from(["a", "b", "c", "x", ""])


@given(st.lists(st.lists(TERMS, min_size=1, max_size=2).map(",".join), max_size=2), VALUES, VALUES)
def test_an_object_is_selected_or_left_out(texts: list[str], app: str | None, tier: str | None) -> None:
    """Never neither and never both, and left out only once."""
    labels = {key: value for key, value in (("app", app), ("tier", tier)) if value is not None}
    others = complement(texts)
    assert len(others) <= MAX_COMPLEMENT
    assert sum(is_selected([other], labels) for other in others) == (not is_selected(texts, labels))
