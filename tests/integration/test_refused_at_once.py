"""What cannot work in the end is refused before anything is read: the data need not even be there."""

import pytest


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            "features {} --from cgcnn-fe --importance",
            "importance is that of descriptors; cgcnn-fe reads graphs",
        ),
        ("features {} --estimator nope", "there is no estimator 'nope'"),
        ("features {} --group nope", "crystals are grouped by composition or none, got 'nope'"),
        ("features {} --cv nope", "cv is leave-one-out, or 5-fold with any number from 2, got 'nope'"),
        ("features {} --repeats 0", "repeats must be at least 1, got 0"),
        ("features {} --from cgcnn-fe --layer nope", "cgcnn-fe: there is no layer 'nope'"),
        ("features {} --from cgcnn-xyz", "cgcnn-xyz is no model"),
        ("features {} --coverage", "--coverage is of the intervals of what --save FOLDER keeps"),
        ("features {} --save {} --estimator forest", "one estimator can be saved"),
        ("features {} --save {file}", "is a file, wanted a folder; choose another one"),
        ("features {} --target a --target b", "a single table has one column to learn, got a and b"),
        ("recommend {} --from cgcnn-fe,cgcnn-xyz", "cgcnn-xyz is no model"),
        ("recommend {} --repeats 0", "repeats and max-crystals must be at least 1"),
        ("finetune {} --from cgcnn-fe,cgcnn-xyz", "cgcnn-xyz is no model"),
        ("finetune {} --from cgcnn-fe --strategy three-body", "this backbone has no three-body part"),
        ("finetune {} --from alignn-s-fe,cgcnn-fe --strategy three-body", "this backbone has no three-body"),
        ("finetune {} --from cgcnn-fe --head band_gap", "band_gap"),
        ("finetune {} --from cgcnn-fe --target a --target b", "--target: one value is wanted, got a and b"),
    ],
)
def test_at_once(words, message, tlzoo, tmp_path):
    file = tmp_path / "file"
    file.touch()
    given = [word.format(tmp_path / "nowhere.parquet", file=file) for word in words.split()]
    out = {"features": ["-o", tmp_path / "out"], "finetune": ["--run-dir", tmp_path / "run"]}
    answer = tlzoo(*given, *out.get(given[0], []))
    assert answer.code == 2
    assert message in answer.err
    assert "nowhere.parquet" not in answer.err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_too_few_crystals_are_refused_before_features_are_computed(tlzoo, few, tmp_path):
    """The number of compositions is known as soon as the table is read; the model would take longer."""
    answer = tlzoo(
        "features", few, "--target", "band_gap", "--from", "cgcnn-fe", "--cv", "99-fold", "-o", tmp_path / "x"
    )
    assert answer.code == 2
    assert "99-fold cross-validation needs at least 99 different crystals" in answer.err
