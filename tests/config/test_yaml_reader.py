"""YAML traps: what other readers turn into something else, or choke on."""

from __future__ import annotations

import math
import time
from pathlib import Path

import pytest

from rl4bio.config.yaml_reader import MAX_BYTES, dump_yaml, parse_yaml, read_yaml
from rl4bio.errors import ConfigError

SCALARS = [
    ("1e-5", 1e-5),  # text in YAML 1.1
    ("1E5", 1e5),
    ("-2.5e+3", -2500.0),
    (".5", 0.5),
    ("5.", 5.0),
    ("+7", 7),
    ("-0", 0),
    ("yes", "yes"),  # booleans in YAML 1.1
    ("NO", "NO"),
    ("on", "on"),
    ("off", "off"),
    ("y", "y"),
    ("true", True),
    ("False", False),
    ("012", "012"),  # 10 in YAML 1.1
    ("0o14", "0o14"),
    ("0x1f", "0x1f"),
    ("0b11", "0b11"),
    ("1_000", "1_000"),
    ("12:30", "12:30"),  # 750 in YAML 1.1
    ("12:30:45", "12:30:45"),
    ("2024-01-01", "2024-01-01"),  # a date in YAML 1.1
    ("", None),
    ("~", None),
    ("null", None),
    ("none", "none"),
    ("nan", "nan"),
    (".inf", math.inf),
    ("1e999", math.inf),
    ("1.2.3", "1.2.3"),
    ("e5", "e5"),
    (".", "."),
    ("-", [None]),  # a dash alone starts a list
    ("'1e-5'", "1e-5"),
    ('"true"', "true"),
    ("a#b", "a#b"),
    ("a # comment", "a"),
    ("=", "="),
    ("99999999999999999999", "99999999999999999999"),  # no 64-bit number
    ("[1, a, {b: 2}]", [1, "a", {"b": 2}]),
]


@pytest.mark.parametrize(("written", "value"), SCALARS)
def test_scalars_follow_yaml_1_2(written: str, value: object) -> None:
    read = parse_yaml(written, "f").value
    assert read == value
    assert type(read) is type(value)


REFUSED = [
    ("a: 1\nb: 2\na: 3", "f:3: a: duplicate key, first on line 1"),
    ("g:\n  x: 1\n  x: 2", "f:3: g.x: duplicate key, first on line 2"),
    ("a: 1\n'a': 2", "f:2: a: duplicate key"),
    ("a: !!python/object/apply:os.system ['true']", "f:1: tag"),
    ("a: !!int 3", "f:1: tag"),
    ("!local {a: 1}", "f:1: tag"),
    ("a: &x [1]\nb: *x", "f:1: anchor &x"),
    ("a: *x", "f:1: alias *x"),
    ("a: {<<: *x}", "f:1: << merges another section"),
    ("1: a", "f:1: key 1 is no name"),
    ("true: a", "f:1: key True is no name"),
    ("null: a", "f:1: key None is no name"),
    ("? [a, b]\n: c", "is no name"),
    ("a: 1\n---\nb: 2", "f:2: a second document"),
    ("a: b: c", "f:1: not YAML: mapping values are not allowed here"),
    ("a:\n\tb: 1", "f:2: not YAML"),
    ("a: [1, 2", "f:1: not YAML"),
    ("a: 'x\nb: 1", "f:2: not YAML"),
    ("a: @x", "f:1: not YAML"),
    ("a: 1\n b: 2", "f:2: not YAML"),
    ('a: "\\U00110000"', "f: not YAML"),
    ('a: "\\ud800"', "f:1: '\\ud800' holds a control character"),
    ('a: "\\0"', "f:1: '\\x00' holds a control character"),
    ("a: 1\nb: \x01", "f:2: character"),
    ("[" * 100_000, "f:1: nested deeper than 20 levels"),
    ("{a: " * 100_000, "f:1: nested deeper than 20 levels"),
    ("- " * 100_000, "f:1: nested deeper than 20 levels"),
    ("[" + "1," * 100_000 + "]", "f:1: more than 10,000 values"),
]


@pytest.mark.parametrize(("text", "message"), REFUSED, ids=[text[:24] for text, _ in REFUSED])
def test_refused_with_name_and_line(text: str, message: str) -> None:
    started = time.thread_time()
    with pytest.raises(ConfigError) as caught:
        parse_yaml(text, "f")
    assert message in str(caught.value)
    assert time.thread_time() - started < 2


def test_alias_bomb_is_refused_at_once() -> None:
    # Each level holds nine of the level before: 9^9 = 387 million values when expanded.
    bomb = "a0: &a0 [x]\n" + "".join(
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 10)
    )
    started = time.thread_time()
    with pytest.raises(ConfigError, match="anchors are refused"):
        parse_yaml(bomb, "bomb.yaml")
    assert time.thread_time() - started < 2


def test_lines_of_nested_keys() -> None:
    document = parse_yaml("a: 1\nrewards:\n  - name: x\n    weight: 2\n  - {name: y}\n", "f")
    assert document.lines == {
        "a": 1,
        "rewards": 2,
        "rewards[0]": 3,
        "rewards[0].name": 3,
        "rewards[0].weight": 4,
        "rewards[1]": 5,
        "rewards[1].name": 5,
    }


def test_files(tmp_path: Path) -> None:
    path = tmp_path / "run.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: a\r\nseed: 2\r\n")  # byte order mark, Windows line ends
    assert read_yaml(path).value == {"name": "a", "seed": 2}
    path.write_bytes(b"name: a\nnote: \xff\n")
    with pytest.raises(ConfigError, match=r"run\.yaml:2: not UTF-8"):
        read_yaml(path)
    path.write_bytes("name: a".encode("utf-16"))
    with pytest.raises(ConfigError, match=r"run\.yaml:1: not UTF-8"):
        read_yaml(path)
    path.write_bytes(b"#" * (MAX_BYTES + 1))
    with pytest.raises(ConfigError, match="larger than"):
        read_yaml(path)
    with pytest.raises(ConfigError, match=r"missing\.yaml: No such file"):
        read_yaml(tmp_path / "missing.yaml")
    with pytest.raises(ConfigError, match="directory"):
        read_yaml(tmp_path)


def test_dump_reads_back_with_equal_types() -> None:
    texts = [written for written, _ in SCALARS] + [" x", "a: b", "# c", "é", "a\nb", "\u0085", "\t"]
    values = {
        "texts": texts,
        "numbers": [1e-5, 1e22, 0.1, 1.0, 10**18, -3],
        "rest": [None, True, {}, [], {"yes": {"1e5": [[]]}, "null": 1}],
    }
    read = parse_yaml(dump_yaml(values), "f").value
    assert read == values
    assert [type(n) for n in read["numbers"]] == [float, float, float, float, int, int]
