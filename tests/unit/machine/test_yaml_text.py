import pytest
import yaml

from tlzoo.machine import yaml_text

LAUGHS = "\n".join(
    ["a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1, 1]"]
    + [f"{b}: &{b} [{', '.join([f'*{a}'] * 10)}]" for a, b in zip("abcde", "bcdef", strict=True)]
)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[" * 100_000 + "]" * 100_000, "nested more than 100 levels"),
        ("a: " + "{a: " * 20_000 + "1" + "}" * 20_000, "nested more than 100 levels"),
        ("- " * 5_000 + "1", "nested more than 100 levels"),
        ("data: &a\n  b: *a\n", "&a contains itself"),
        (LAUGHS, "repeat more than 100,000 values"),
    ],
)
def test_what_asks_for_too_much_is_refused(text, told):
    with pytest.raises(yaml.YAMLError, match=told):
        yaml_text.parsed(text)


def test_all_else_is_read():
    text = "common: &c {lr: 0.1, seeds: [1, 2]}\nfirst: *c\nsecond: {<<: *c, lr: 0.2}\n" + "# long\n" * 50
    assert yaml_text.parsed(text)["second"] == {"lr": 0.2, "seeds": [1, 2]}
    deep = "[" * 99 + "]" * 99
    assert yaml_text.parsed(deep) == yaml.safe_load(deep)
