"""Wrong definitions: each is refused with a line that says where it is and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.definitions import DefinitionError
from experiments.definitions.catalogue import Catalogue, check
from experiments.definitions.loader import load_file, load_text, load_values

EXPERIMENT = """kind: experiment
key: x
name: X
variants: [{key: control}, {key: a}]
control: control
metrics: {primary: [m]}
"""
COUPON = "kind: offer\nkey: o\nname: O\ntype: spend_x_save_y\n"
PROJECT = "kind: project\nname: P\ncurrency: CNY\n"

WRONG = [
    # YAML that two readers could read differently, or that is no YAML
    (EXPERIMENT + "on: 1\n", "line 7: the key on is a boolean to some YAML readers and text to others; quote it"),
    (EXPERIMENT + "no: 1\n", "the key no is a boolean"),
    (EXPERIMENT + "1: 2\n", 'the key 1 is not text; quote it: "1"'),
    (EXPERIMENT + "true: 2\n", 'the key true is not text; quote it: "true"'),
    (
        EXPERIMENT + "owner: yes\n",
        "/owner: yes is a boolean to some YAML readers and text to others; write true, false",
    ),
    (EXPERIMENT + "key: y\n", 'line 7, /key: the key "key" stands twice (first in line 2); keep one'),
    (EXPERIMENT + "owner: &a b\n", "anchors (&name) are not taken"),
    (EXPERIMENT + "owner: *a\n", "/owner: aliases (*name) are not taken; write the value again"),
    (EXPERIMENT + "owner: !!python/object/apply:os.system [x]\n", "/owner: tags (tag:yaml.org,2002:python"),
    (EXPERIMENT + "? [a]\n: 1\n", "a key must be text, not a list or mapping"),
    (EXPERIMENT + "\towner: x\n", "a tab cannot indent YAML: use spaces"),
    (EXPERIMENT + "owner: a\x00b\n", "contains a control character such as NUL; remove it"),
    (EXPERIMENT + 'owner: "a\\0b"\n', "/owner: contains a NUL character; remove it"),
    (EXPERIMENT + 'owner: "\\ud800"\n', "invalid Unicode character escape code"),
    (EXPERIMENT + "owner: \ud800\n", "contains a lone surrogate, which is no character"),
    (EXPERIMENT + "alpha: .nan\n", "/alpha: .nan is not a finite number"),
    (EXPERIMENT + "alpha: 1e999\n", "/alpha: 1e999 is not a finite number; write a smaller one"),
    (EXPERIMENT + f"planned_units: {'9' * 30}\n", "has too many digits for a number"),
    ("[" * 100_000, "is nested deeper than 60 levels; flatten it"),
    ("a: " + "{b: " * 500 + "1" + "}" * 500, "is nested deeper than 60 levels; flatten it"),
    ("name: [1, 2\n", "is not YAML"),
    ("", "has no documents; write at least one with kind"),
    ("just words\n", "must be a mapping that begins with kind"),
    ("key: x\n", "/kind: is missing; write kind: one of project, offer"),
    ("kind: experimet\nkey: x\n", '/kind: "experimet" is not a kind; did you mean "experiment"?'),
    ("kind: layer\nkey: a\n---\nkind: layer\nkey: a\n", "document 2, line 5, /key: layer a is defined twice (first in"),
    # fields
    (EXPERIMENT + "trafic: 1\n", 'line 7, /trafic: unknown key; did you mean "traffic"?'),
    (EXPERIMENT.replace("{key: a}", "{key: a, weigth: 2}"), '/variants/1/weigth: unknown key; did you mean "weight"?'),
    (EXPERIMENT.replace("{key: a}", "{key: a, weight: -1}"), "/variants/1/weight: -1 must be at least 0"),
    (EXPERIMENT.replace("{key: a}", "{key: a, weight: 1.5}"), "/variants/1/weight: 1.5 must be a whole number"),
    (EXPERIMENT.replace("{key: a}", "{key: control}"), '/variants/1/key: "control" stands twice; rename one'),
    (EXPERIMENT.replace("{key: a}", "{key: a, weight: 0}"), "/variants: fewer than two variants have a weight above 0"),
    (EXPERIMENT.replace(", {key: a}", ""), "/variants: has too few items; at least 2"),
    (EXPERIMENT.replace("control: control", "control: c"), '/control: "c" is not a variant; use one of control, a'),
    (EXPERIMENT.replace("control: control\n", "").replace("{key: control}", "{key: b}"), "/control: is missing; name"),
    (EXPERIMENT.replace("name: X", "name: {english: X}"), '/name: "english" is not a language tag'),
    (EXPERIMENT.replace("name: X", "name: ''"), "/name: the en text is empty or not text"),
    (EXPERIMENT.replace("key: x", "key: a b"), '/key: "a b" may have only a-z 0-9 _ -'),
    (EXPERIMENT.replace("key: x", "key: Spring.Sale"), 'at most 64; write "spring-sale"'),
    (EXPERIMENT.replace("key: x", "key: 春季"), '/key: "春季" may have only a-z 0-9 _ -'),
    (EXPERIMENT.replace("key: x", "key: " + "x" * 65), 'at most 64; write "xxx'),
    (EXPERIMENT.replace("key: x", "key: _x"), 'begin with a letter or digit, at most 64; write "x"'),
    (EXPERIMENT.replace("key: x", "key: 7"), '/key: must be text; write it in quotes: "7"'),
    (EXPERIMENT + "traffic: 1.5\n", "/traffic: 1.5 is outside 0 to 1"),
    (EXPERIMENT + "traffic: half\n", '/traffic: must be a share such as "0.35" or "35%"'),
    (EXPERIMENT + "enrolment: onc\n", '/enrolment: "onc" is not one of once, rolling; did you mean "once"?'),
    (EXPERIMENT + "schedule: {start: 2026-03-03}\n", "/schedule/start: has no time zone; write an offset"),
    (EXPERIMENT + "schedule: {start: soon}\n", "/schedule/start: is not a time"),
    (
        EXPERIMENT + "schedule: {start: 2026-03-03T00:00Z, end: 2026-03-01T00:00Z}\n",
        "/schedule/end: is not after",
    ),
    (EXPERIMENT + "planned_units: '5'\n", '/planned_units: "5" must be a whole number, without quotes'),
    (EXPERIMENT + "overrides: {u: b}\n", '/overrides/u: "b" is not a variant; use one of control, a'),
    (EXPERIMENT + "exclude: ['']\n", "/exclude: unit id is empty"),
    (EXPERIMENT + "audience: [1]\n", "/audience: a list must be a mapping"),
    (EXPERIMENT + "layer: {key: l, slots: [['0.5', '0.2']]}\n", "/layer/slots/0: [0.5, 0.2) is empty"),
    (EXPERIMENT + "layer: {key: l, slots: [[0, 0.5], [0.4, 1]]}\n", "/layer/slots/1: [0.4, 1) overlaps another slot"),
    (EXPERIMENT + "made: {salt: xyz}\n", '/made/salt: "xyz" is not a salt; leave it as equipoise export wrote it'),
    (EXPERIMENT.replace("[m]", "[m, m]"), '/metrics/primary/1: "m" is listed twice; give each metric one role'),
    (COUPON + "face_value: 20.00\n", '/face_value: write the amount in quotes, as "20.0", so that no decimal is lost'),
    (COUPON + "face_value: '20'\n", "/minimum_spend: is missing; spend_x_save_y needs it: add minimum_spend"),
    (
        COUPON + "face_value: '20'\nminimum_spend: '100'\nprice: '1'\n",
        "/price: does not belong to spend_x_save_y",
    ),
    (COUPON + "face_value: '-20'\nminimum_spend: '100'\n", "/face_value: must not be negative"),
    (COUPON + "face_value: 1e3\nminimum_spend: '1'\n", "/face_value: write the amount in quotes"),
    (COUPON + "face_value: '20'\nminimum_spend: '1'\ncontact_cost: {fax: '1'}\n", "/contact_cost/fax: unknown channel"),
    ("kind: offer\nkey: o\nname: O\ntype: percent_off\npercent_off: 0.9\n", "/percent_off: 0.9 is outside 1 to 100"),
    ("kind: offer\nkey: o\nname: O\ntype: coupon\n", '/type: "coupon" is not one of percent_off'),
    (PROJECT.replace("CNY", "RMB"), '/currency: "RMB" is not an ISO 4217 currency code'),
    (PROJECT + "time_zone: Asia/Peking\n", '/time_zone: "Asia/Peking" is not an IANA time zone'),
    (PROJECT + "attributes: {stage: {type: text}}\n", '/attributes/stage/type: "text" is not one of string, number'),
    ("kind: holdout\nkey: h\nshare: 2%\nscope: all\n", '/scope: "all" is no scope; write scope: global'),
    ("kind: metric\nkey: m\nname: M\ntype: sum\nevent: E\nwindow: {days: 7}\n", "/value: is missing; sum needs it"),
    ("kind: metric\nkey: m\nname: M\ntype: ratio\nevent: E\nwindow: {days: 7}\n", "/denominator: is missing; a ratio"),
    ("kind: metric\nkey: m\nname: M\ntype: profit\nevent: E\nwindow: {days: 7}\n", "/margin: is missing; profit needs"),
    ("kind: metric\nkey: m\nname: M\ntype: count\nevent: E\nwindow: {days: 0}\n", "/window/days: 0 must be above 0"),
    (
        "kind: stage_rule\nkey: s\nstages: [{stage: a}, {stage: b}]\n",
        "/stages/0/rule: only the last stage may leave its rule out",
    ),
]


@pytest.mark.parametrize(("text", "message"), WRONG, ids=[message[:60] for _, message in WRONG])
def test_a_wrong_definition_is_refused_with_its_place_and_what_to_do(text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_text(text, "wrong.yaml")
    lines = str(caught.value).splitlines()
    assert any(message in line for line in lines), str(caught.value)
    for line in lines:
        assert line.startswith("wrong.yaml")
        assert "Traceback" not in line
        assert "pydantic" not in line


WRONG_JSON = [
    ('{"kind": "layer", "kind": "layer"}', 'the key "kind" stands twice in one object; keep one'),
    ('{"kind": "layer", "key": NaN}', "NaN is not a number JSON knows"),
    ('{"kind": "layer", "key": "\\ud800"}', "/key: contains a lone surrogate"),
    ('{"kind": "layer", "key": "a\\u0000"}', "/key: contains a NUL character; remove it"),
    ('{"kind": "layer", "key": 1e999}', "/key: is not a finite number"),
    ('{"kind": "layer", ', "is not JSON: expecting property name"),
    ("[" * 100_000 + "]" * 100_000, "is nested deeper than 60 levels"),
    ("[" + "9" * 5000 + "]", "too many digits"),
    ('["layer"]', "must be a mapping that begins with kind"),
]


@pytest.mark.parametrize(("text", "message"), WRONG_JSON)
def test_wrong_json_is_refused(text: str, message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        load_text(text, "wrong.json")
    assert message in str(caught.value)
    assert str(caught.value).startswith("wrong.json")


def test_wrong_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"absent\.yaml: cannot be read: no such file or directory"):
        load_file(tmp_path / "absent.yaml")
    with pytest.raises(DefinitionError, match="cannot be read: is a directory"):
        load_file(tmp_path)
    other = tmp_path / "gbk.yaml"
    other.write_bytes("kind: layer\nkey: a\nname: 唤醒\n".encode("gb18030"))
    with pytest.raises(DefinitionError, match=r"gbk\.yaml, line 3: is not UTF-8 text; save it as UTF-8"):
        load_file(other)


def test_every_problem_is_reported_at_once() -> None:
    text = EXPERIMENT + "trafic: 1\nalpha: 2\n---\nkind: layer\nkey: a b\n"
    with pytest.raises(DefinitionError) as caught:
        load_text(text, "f.yaml")
    assert [(p.document, p.line, p.pointer) for p in caught.value.problems] == [
        (1, 8, "/alpha"),
        (1, 7, "/trafic"),
        (2, 11, "/key"),
    ]


METRIC = "kind: metric\nkey: m\nname: M\ntype: count\nevent: E\nwindow: {days: 7}\n"
REFERENCES = [
    (EXPERIMENT, '/metrics/primary/0: metric "m" is not defined; define it first or in the same file'),
    (
        EXPERIMENT + "breakdowns: [stag]\n",
        '/breakdowns/0: "stag" is not an attribute; declare it under attributes',
    ),
    (EXPERIMENT + "unit_type: store\n", '/unit_type: "store" is not a unit type; add it to unit_types in the project'),
    (
        PROJECT + "exclude: {member: ['13800138000']}\n",
        "/exclude/member: a unit id looks like a telephone number; send",
    ),
    (EXPERIMENT + "overrides: {li.lei@example.com: a}\n", "/overrides: a unit id looks like an e-mail address; send"),
    (EXPERIMENT + "exclude: ['+49 30 901820']\n", "/exclude: a unit id looks like a telephone number; send"),
    (EXPERIMENT + "layer: {key: l}\n", '/layer/key: layer "l" is not defined'),
    (PROJECT + "exclude: {stores: [a]}\n", '/exclude/stores: "stores" is not a unit type; add it to unit_types'),
    (EXPERIMENT + "segment: s\n", '/segment: segment "s" is not defined'),
    (EXPERIMENT + "holdouts: [h]\n", '/holdouts/0: holdout "h" is not defined'),
    (EXPERIMENT.replace("{key: a}", "{key: a, offer: o}"), '/variants/1/offer: offer "o" is not defined'),
    (EXPERIMENT + "audience: {attribute: stage, op: lt, value: 3}\n", "/audience/value:"),
    (EXPERIMENT + "audience: {attribute: stge, op: eq, value: x}\n", "/audience/attribute:"),
    ("kind: segment\nkey: s\nrule: {any: []}\n", "/rule/any:"),
    (
        METRIC + "where: {all: [{attribute: a, op: eq, value: x}, {not: {attribute: at, op: days_since, lte: 3}}]}\n",
        "/where/all/1/not/op: days_since counts back from today, so the outcome would change every day; compare",
    ),
    (COUPON + "face_value: '20.001'\nminimum_spend: '1'\n", '/face_value: "20.001" has more decimals than CNY'),
]


@pytest.mark.parametrize(("text", "message"), REFERENCES)
def test_a_reference_that_leads_nowhere_is_refused(text: str, message: str) -> None:
    project = load_text(PROJECT + "attributes: {stage: {type: string}}\n")[0].definition
    definition = load_text(text)[0].definition
    problems = check(Catalogue.of([project, definition]), [(definition.kind, definition.key)])
    assert any(message in str(problem) for _, problem in problems), problems


def test_without_a_project_nothing_can_be_defined() -> None:
    definition = load_text(EXPERIMENT)[0].definition
    ((_, problem),) = check(Catalogue.of([definition]))
    assert str(problem).startswith("no project is defined yet; add a document with kind: project")


def test_values_that_were_decoded_elsewhere_get_the_same_refusals() -> None:
    with pytest.raises(DefinitionError, match="/key: is not a finite number"):
        load_values([{"kind": "layer", "key": float("nan")}])
    deep: dict[str, object] = {}
    for _ in range(50_000):
        deep = {"a": deep}
    with pytest.raises(DefinitionError, match="is nested deeper than 60 levels"):
        load_values([{"kind": "layer", "key": deep}])
