"""Changing values in the text of a JSON file."""

from __future__ import annotations

import json

import pytest

from maskx_pipeline.annotate.json_splice import list_spans, with_members

ODD = """ {"info" : {"annotations": [1]}, "annotations":[] ,
 "images":[ {"id":1.0} ],
\t"annotations" : [ {"id":1,"x":"a\\"}]"} ,
  {"id": 2e0, "n": [1, {"id": 9}], "s": "\\u00e9é"}
 ] , "z": NaN } \n"""


def test_spans_are_the_text_of_the_entries():
    """Whatever stands around them, and in the last list of that name, which is the one that Python reads."""
    spans = list(list_spans(ODD, "annotations"))
    assert [span.value for span in spans] == json.loads(ODD)["annotations"]
    assert [ODD[span.start : span.end] for span in spans] == [
        '{"id":1,"x":"a\\"}]"}',
        '{"id": 2e0, "n": [1, {"id": 9}], "s": "\\u00e9é"}',
    ]
    assert [ODD[span.start : span.end] for span in list_spans(ODD, "images")] == ['{"id":1.0}']


@pytest.mark.parametrize("text", ["{}", '{"annotations": {}}', ' { "other" : [1] } '])
def test_a_list_that_is_not_there_is_an_error(text):
    """Nothing is made up."""
    with pytest.raises(KeyError):
        list(list_spans(text, "annotations"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"id":1,"m":null,"e":1.50}', '{"id":1,"m":[1,2],"e":1.50,"new":"n"}'),
        ('{"id": 1, "m": [], "e": 1.50}', '{"id": 1, "m": [1, 2], "e": 1.50, "new": "n"}'),
        ('{"m": "}", "id": 1.0}', '{"m": [1, 2], "id": 1.0, "new": "n"}'),
        ('{\n  "id" : 1,\n  "e": "é\\u00e9"\n}', '{\n  "id" : 1,\n  "e": "é\\u00e9",\n  "m": [1, 2],\n  "new": "n"\n}'),
        ('{"m": 1, "m": 2 }', '{"m": 1, "m": [1, 2], "new": "n" }'),
    ],
)
def test_only_the_given_members_change(text, expected):
    """In place where they are, at the end where they are not, laid out like their neighbours."""
    changes = {"m": [1, 2], "new": "n"}
    assert with_members(text, changes) == expected
    assert json.loads(expected) == json.loads(text) | changes


def test_a_key_of_any_letters_is_found():
    """Keys are compared as JSON reads them, not as they are written."""
    assert with_members('{"\\u006d": 1, "n\\"": 2}', {"m": 5, 'n"': 6}) == '{"\\u006d": 5, "n\\"": 6}'


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"id": 1, "a": [2] , "b": "x", "z": 3}', '{"id": 1, "a": [], "z": 3}'),
        ('{"id":1,"a":5,"b":"x"}', '{"id":1,"a":[]}'),
        ('{"id":1 ,\n "b":7,\n "a":0}', '{"id":1,\n "a":[]}'),
    ],
)
def test_a_key_is_left_out_with_the_comma_before_it(text, expected):
    """What stands around it stays as it is."""
    assert with_members(text, {"a": []}, without=("b", "absent")) == expected
