"""What every kind of export has in common: names, settings, places, and what is refused."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import pytest
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier

from jettison.domain.configuration import ModelSection
from jettison.domain.measurement import Measurement
from jettison.domain.recipe import Candidate, Recipe, Step
from jettison.domain.record import digest, from_json
from jettison.domain.rows import Rows
from jettison.domain.run import RunRecord
from jettison.errors import CheckFailed, ConfigError, UnknownName, UsageError
from jettison.export.exporting import export
from jettison.pipeline.certify import uncertified_certificate
from jettison.pipeline.emit import Cargo, emit
from jettison.pipeline.load import load_model
from jettison.pipeline.verify import open_for_serving
from tests.conftest import write_rows
from jettison.domain.extension_points import Encoded


@pytest.fixture(scope="session")
def forest_bundle(bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that runs on scikit-learn."""
    place = tmp_path_factory.mktemp("forest")
    inputs, targets = load_breast_cancer(return_X_y=True)
    live = RandomForestClassifier(n_estimators=5, random_state=0).fit(inputs, targets)
    model = load_model(ModelSection(""), place / "model", live)
    names = tuple(spec.name for spec in model.inputs)
    columns = {names[0]: inputs[:8].astype(model.inputs[0].dtype)}
    rows: Rows = write_rows(Encoded(columns), place / "rows")
    record = from_json(RunRecord, (bundle / "run.json").read_bytes())
    candidate = Candidate(Recipe((), Step("scikit_learn")), model, ())
    told = Measurement(candidate.recipe.digest, "claim", (), record.profile.device)
    shipped = dataclasses.replace(
        record,
        model=model,
        trials=(),
        claims={candidate.recipe.digest: told},
        front=(candidate.recipe.digest,),
        shipped=candidate.recipe.digest,
        certificate=uncertified_certificate("a test", digest(record.configuration)),
    )
    emit(shipped, Cargo(candidate, rows), place / "release", str(place / "ledger"))
    return place / "release"


def leftovers(folder: Path) -> list[str]:
    """Everything that lies in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_an_unknown_kind_suggests_the_nearest(bundle: Path, tmp_path: Path) -> None:
    """A misspelt kind is answered with the one that was meant, and all that there are."""
    with pytest.raises(UnknownName, match="did you mean `triton`") as caught:
        export("tritn", bundle, tmp_path / "out")
    assert "docker, kserve, ray, triton" in str(caught.value)


def test_all_mistakes_in_settings_are_told_at_once(bundle: Path, tmp_path: Path) -> None:
    """An unknown key suggests the nearest; a wrong value says what is allowed."""
    given = ["instnces=2", "deadline_ms=0", "instances", "instances=2", "instances=3"]
    with pytest.raises(ConfigError) as caught:
        export("triton", bundle, tmp_path / "out", given=given)
    problems = "\n".join(caught.value.problems)
    assert "did you mean `instances`?" in problems
    assert "`deadline_ms` must be a whole number from 1; got '0'" in problems
    assert "--set instances: write it as key=value" in problems
    assert "`instances` is set twice" in problems
    assert len(caught.value.problems) == 4
    with pytest.raises(ConfigError, match="`access` must be one of key, open; got 'none'"):
        export("docker", bundle, tmp_path / "out", given=["access=none"])
    with pytest.raises(ConfigError, match="one line of printable characters"):
        export("kserve", bundle, tmp_path / "out", given=["image=a\nb"])


def test_the_name_is_that_of_the_folder(bundle: Path, tmp_path: Path) -> None:
    """As in `jettison serve`; --name gives another, and what can't be a name is refused."""
    done = export("triton", bundle, tmp_path / "one")
    assert (tmp_path / "one" / "release" / "config.pbtxt").exists()
    assert done.status == "certified"
    assert len(done.digest) == 64
    export("triton", bundle, tmp_path / "two", name="reviews.v2")
    assert (tmp_path / "two" / "reviews.v2" / "config.pbtxt").exists()
    with pytest.raises(UsageError, match="`a/b` can't be a model's name"):
        export("triton", bundle, tmp_path / "three", name="a/b")
    assert leftovers(tmp_path) == ["one", "two"]


def test_a_place_that_is_taken_is_left_alone(bundle: Path, tmp_path: Path) -> None:
    """A folder with something in it, a file and a link are refused; an empty folder is filled."""
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "mine").write_text("mine")
    with pytest.raises(UsageError, match="exists and is not empty"):
        export("triton", bundle, tmp_path / "full")
    with pytest.raises(UsageError, match="is a file or a link"):
        export("triton", bundle, tmp_path / "full" / "mine")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="is a file or a link"):
        export("triton", bundle, tmp_path / "link")
    assert leftovers(tmp_path / "full") == ["mine"]
    (tmp_path / "empty").mkdir()
    export("triton", bundle, tmp_path / "empty")
    assert leftovers(tmp_path / "empty") == ["README.md", "check_answers.py", "probes.npz", "release"]
    assert leftovers(tmp_path) == ["empty", "full", "link"]


def test_a_bundle_is_never_written_into(bundle: Path) -> None:
    """An export inside the bundle would break its manifest."""
    before = leftovers(bundle)
    for place in (bundle / "out", bundle / "model" / "out"):
        with pytest.raises(UsageError, match="lies inside the bundle"):
            export("docker", bundle, place)
    assert leftovers(bundle) == before


def test_what_is_no_bundle_is_refused(bundle: Path, tmp_path: Path) -> None:
    """Nothing there, another folder, and a bundle with a changed file."""
    with pytest.raises(UsageError, match="there is no bundle at"):
        export("triton", tmp_path / "nowhere", tmp_path / "out")
    (tmp_path / "other").mkdir()
    with pytest.raises(CheckFailed, match="is not a jettison bundle"):
        export("triton", tmp_path / "other", tmp_path / "out")
    changed = tmp_path / "changed"
    shutil.copytree(bundle, changed)
    with open(changed / "model" / "model.onnx", "ab") as file:
        file.write(b"\0")
    with pytest.raises(CheckFailed, match=r"model/model\.onnx was changed"):
        export("triton", changed, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_an_uncertified_bundle_needs_a_word(uncertified_bundle: Path, tmp_path: Path) -> None:
    """Without --allow-uncertified it is refused with the reason; with it, it is called so."""
    with pytest.raises(CheckFailed, match="--allow-uncertified"):
        export("triton", uncertified_bundle, tmp_path / "out")
    done = export("triton", uncertified_bundle, tmp_path / "out", allow_uncertified=True)
    assert done.status == "uncertified"


def test_a_model_that_is_not_onnx_is_refused_by_triton(
    forest_bundle: Path, tmp_path: Path
) -> None:
    """The message says what the model is, which technique makes it ONNX, and what takes it."""
    assert open_for_serving(forest_bundle).served.runtime == Step("scikit_learn")
    with pytest.raises(UsageError) as caught:
        export("triton", forest_bundle, tmp_path / "out", allow_uncertified=True)
    message = str(caught.value)
    assert "needs a model that is `onnx`" in message
    assert "runs on scikit_learn" in message
    assert "the technique `convert_sklearn`" in message
    assert "docker, kserve, ray" in message
    assert not (tmp_path / "out").exists()


def test_other_kinds_take_any_model(forest_bundle: Path, tmp_path: Path) -> None:
    """The container installs what the runtime needs, at the certified versions."""
    wheel = tmp_path / "jettison-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"")
    export(
        "docker",
        forest_bundle,
        tmp_path / "out",
        given=[f"wheel={wheel}"],
        allow_uncertified=True,
    )
    requirements = (tmp_path / "out" / "requirements.txt").read_text().splitlines()
    names = {line.partition("==")[0] for line in requirements}
    assert {"scikit-learn", "skops", "pandas"} <= names
    assert "onnxruntime" not in names


def test_a_kind_that_fails_leaves_nothing(bundle: Path, tmp_path: Path) -> None:
    """An export is whole or absent."""
    with pytest.raises(UsageError, match="`wheel` must name a wheel file"):
        export("docker", bundle, tmp_path / "out", given=["wheel=nowhere.whl"])
    assert leftovers(tmp_path) == []


def test_a_folder_that_cannot_be_written(bundle: Path, tmp_path: Path) -> None:
    """The system's reason is given, and nothing is left."""
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="can't be written"):
        export("triton", bundle, tmp_path / "file" / "out")
    assert leftovers(tmp_path) == ["file"]
