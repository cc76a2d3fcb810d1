"""Where keys stand in a TOML file."""

from __future__ import annotations

from jettison.config.toml_lines import key_lines

TEXT = '''\
# a comment with [brackets] and "quotes"
title = "a # in a text"   # and a comment
"quoted key".'sub' = 1

[owner.address]           # dotted header
street = """
two
lines ] } # no
"""
raw = \'\'\'
it's [a] {b}\'\'\'
inline = { x = 1, y = { z = "}" }, list = [1, [2, 3]] }

[[tests]]
name = "one"
[tests.deep]
key = 1
[[tests]]
values = [
  1,   # a comment
  "two, ]",
  { three = 3 },
]
date = 1979-05-27T07:32:00Z
[[tests.nested]]
here = true
[[tests.nested]]
here = false
'''


def test_every_kind_of_key_is_found_on_its_line() -> None:
    """Dotted, quoted, inline and nested keys and array elements have the lines they stand on."""
    lines = key_lines(TEXT)
    expected = {
        ("title",): 2,
        ("quoted key", "sub"): 3,
        ("owner", "address"): 5,
        ("owner", "address", "street"): 6,
        ("owner", "address", "raw"): 10,
        ("owner", "address", "inline", "y", "z"): 12,
        ("owner", "address", "inline", "list", "1", "1"): 12,
        ("tests", "0"): 14,
        ("tests", "0", "name"): 15,
        ("tests", "0", "deep", "key"): 17,
        ("tests", "1"): 18,
        ("tests", "1", "values"): 19,
        ("tests", "1", "values", "1"): 21,
        ("tests", "1", "values", "2", "three"): 22,
        ("tests", "1", "date"): 24,
        ("tests", "1", "nested", "0", "here"): 26,
        ("tests", "1", "nested", "1", "here"): 28,
    }
    assert {path: lines.get(path) for path in expected} == expected


def test_windows_line_ends_count_once() -> None:
    """A file with carriage returns has the same lines."""
    assert key_lines("a = 1\r\n\r\nb = 2\r\n")[("b",)] == 3


def test_an_empty_file_has_no_keys() -> None:
    """Neither nothing nor comments alone give a key."""
    assert key_lines("") == {}
    assert key_lines("# only this") == {}
