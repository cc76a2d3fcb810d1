"""The model card: what Hugging Face reads of it, and what it says to people."""

from __future__ import annotations

import dataclasses
import re
import warnings

import pytest
import records

from jettison.domain.configuration import CardSection, ModelSection
from jettison.domain.run import RunRecord
from jettison.reporting.model_card import render_card


def parsed(text: str) -> dict[str, object]:
    """What huggingface_hub reads from a card."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from huggingface_hub import ModelCard
    return dict(ModelCard(text).data.to_dict())


def named(source: str) -> RunRecord:
    record = records.improved()
    configuration = dataclasses.replace(record.configuration, model=ModelSection(source))
    return dataclasses.replace(record, configuration=configuration)


@pytest.mark.parametrize("name", records.EVERY_RECORD)
def test_hugging_face_reads_every_card(name: str) -> None:
    """The front matter parses, and no name from outside adds a field to it."""
    data = parsed(render_card(records.EVERY_RECORD[name]()))
    assert set(data) <= {"library_name", "tags", "metrics", "model-index", "pipeline_tag"}
    assert data["library_name"] == "onnx"
    tags = data["tags"]
    assert isinstance(tags, list)
    assert "jettison" in tags


def test_the_model_index_holds_certified_figures() -> None:
    """Results in the front matter are those on labelled sealed rows."""
    index = parsed(render_card(records.improved()))["model-index"]
    assert index == [
        {
            "name": "magika",
            "results": [
                {
                    "task": {"type": "classification"},
                    "dataset": {"type": "private", "name": "files.parquet"},
                    "metrics": [
                        {"type": "accuracy", "value": 0.8755, "name": "accuracy on sealed rows"}
                    ],
                }
            ],
        }
    ]


@pytest.mark.parametrize("name", ["undecided", "without_data", "interrupted"])
def test_an_uncertified_card_claims_nothing(name: str) -> None:
    """Without a certificate the card has no results and says that quality is not stated."""
    record = records.EVERY_RECORD[name]()
    text = render_card(record)
    data = parsed(text)
    assert "model-index" not in data
    tags = data["tags"]
    assert isinstance(tags, list)
    assert "uncertified" in tags
    assert "certified" not in tags
    assert ("NOT certified" in text) or ("Nothing ships" in text)
    assert record.certificate.reason in text


def test_licence_and_base_model_are_left_to_the_owner() -> None:
    """The card does not guess the licence or the base model, and says who must add them."""
    text = render_card(records.improved())
    assert not {"license", "base_model"} & set(parsed(text))
    assert "jettison does not know it" in text


def test_before_and_after_by_group_and_limits_are_shown() -> None:
    """The card shows costs and quality before and after, each group, and what is not promised."""
    text = render_card(records.improved())
    assert "| overall (accuracy) | 87.31 % | 87.55 % | +0.24 points | −0.13 points |" in text
    assert "| 11.9 ms (11.7 ms to 12.0 ms, n = 5) | 7.71 ms (7.50 ms to 7.92 ms, n = 5) |" in text
    assert "type=toml: accuracy changed by −0.64 points" in text
    assert "**Not certified:**" in text
    assert "type=diff, accuracy: undecided" in text
    assert "not a proof" in text
    assert "at an error rate of at most 5.0 %" in text
    for sentence in records.ASSUMPTIONS:
        assert sentence in text


def test_the_snippet_names_what_the_bundle_holds() -> None:
    """The code of the card is valid Python that names the file, the input and the output."""
    text = render_card(records.improved())
    snippet = re.search(r"```python\n(.*?)```", text, re.S)
    assert snippet is not None
    compile(snippet.group(1), "card", "exec")
    for word in ("model/model.onnx", "'bytes': np.ones((1, 2048), dtype='int32')", "target_label"):
        assert word in snippet.group(1)


def test_hostile_names_make_no_markup() -> None:
    """No raw HTML, link, heading or table cell comes from a name."""
    text = render_card(records.hostile())
    body = text.split("\n---\n", 1)[1]
    outside_code = re.sub(r"(`{3,})\w*\n.*?\n\1", "", body, flags=re.S)
    assert "<script" not in outside_code
    assert "<img" not in outside_code
    links = re.findall(r"(?<!\\)\]\(([^)]*)\)", outside_code)
    assert set(links) == {"#sources", "certificate.json", "run.json"}
    assert not [line for line in outside_code.splitlines() if line.startswith("# heading")]
    for line in outside_code.splitlines():
        if line.startswith("| type="):
            assert len(re.findall(r"(?<!\\)\|", line)) == 11


@pytest.mark.parametrize("source", ["a\x7f\x85\u2028b\U0001f600.onnx", "x: {y: [z]}", "---", ""])
def test_odd_names_survive_the_front_matter(source: str) -> None:
    """Control characters, emoji and YAML signs in a name leave the front matter readable."""
    index = parsed(render_card(named(source)))["model-index"]
    assert isinstance(index, list)
    assert index[0]["name"]


def test_the_digest_is_said_to_be_elsewhere() -> None:
    """The card says where the digest of the bundle is, because it can't hold it."""
    text = render_card(records.improved())
    assert "jettison verify ." in text
    assert "it is also in the ledger" in text


def test_the_owner_says_what_only_they_know() -> None:
    """Words of `[card]` stand in quotations, and licence and base model in the front matter."""
    card = CardSection(
        intended_use="Tells types of files.\n\nNot a *virus* scanner <b>.",
        licence="apache-2.0",
        base_model="google/magika",
        contact="ada@example.org",
    )
    record = records.improved()
    configuration = dataclasses.replace(record.configuration, card=card)
    text = render_card(dataclasses.replace(record, configuration=configuration))
    data = parsed(text)
    assert (data["license"], data["base_model"]) == ("apache-2.0", "google/magika")
    assert "> Tells types of files.\n>\n> Not a \\*virus\\* scanner &lt;b&gt;." in text
    assert "Contact: ada@example.org." in text


def test_a_licence_without_a_name_on_the_hub_is_other() -> None:
    """The hub takes only names that it knows; other words go where it wants them."""
    record = records.improved()
    card = CardSection(licence="Ours, ask legal", base_model="not a hub name")
    configuration = dataclasses.replace(record.configuration, card=card)
    data = parsed(render_card(dataclasses.replace(record, configuration=configuration)))
    assert (data["license"], data["license_name"]) == ("other", "Ours, ask legal")
    assert "base_model" not in data


def test_what_nobody_said_is_said_to_be_missing() -> None:
    """Without `[card]` each section of the owner says that it was not stated."""
    text = render_card(records.improved())
    sections = ("Intended use", "Out of scope", "Limits", "Training", "Data")
    for section in sections:
        assert f"## {section}\n\nNot stated by the owner." in text


def test_energy_stands_with_its_label() -> None:
    """Joules are shown with the rung of the ladder that they come from; without any, it says so."""
    assert "Unavailable: no energy" in render_card(records.improved())
    record = records.improved()
    joules = records.estimate("energy_j", 0.031, 0.1, 5, "J (estimated:cpu-seconds)")
    less = dataclasses.replace(joules, value=0.021)
    shipped = record.claims[record.shipped]
    text = render_card(
        dataclasses.replace(
            record,
            baseline=dataclasses.replace(
                record.baseline, estimates=(*record.baseline.estimates, joules)
            ),
            claims={
                **record.claims,
                record.shipped: dataclasses.replace(shipped, estimates=(*shipped.estimates, less)),
            },
        )
    )
    assert "takes 0.0310 J (estimated:cpu-seconds) per example" in text
    assert "this model 0.0210 J (estimated:cpu-seconds)." in text


def test_the_recipe_is_told_in_words() -> None:
    """Each step says what it did and with which settings, in plain words."""
    text = render_card(records.improved())
    assert (
        "1. int8 static: 14 of 14 operators to int8 per channel. Settings: calibrator minmax, per channel yes"
        in text
    )


@pytest.mark.parametrize("name", records.EVERY_RECORD)
def test_the_hub_shows_no_html_and_every_table(name: str) -> None:
    """As CommonMark with tables (what the hub renders) the card has tables and no raw HTML."""
    from markdown_it import MarkdownIt

    body = render_card(records.EVERY_RECORD[name]()).split("\n---\n", 1)[1]
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(body)
    inside = [child.type for token in tokens for child in token.children or ()]
    assert "html_block" not in [token.type for token in tokens]
    assert "html_inline" not in inside
    written = len(re.findall(r"^\| :?-", body, re.M))
    assert sum(token.type == "table_open" for token in tokens) == written >= 2


def test_the_hub_reads_the_results() -> None:
    """huggingface_hub finds the evaluation results behind the model index."""
    from huggingface_hub import ModelCard

    record = records.improved()
    card = CardSection(licence="mit", base_model="google/magika")
    configuration = dataclasses.replace(record.configuration, card=card)
    data = ModelCard(render_card(dataclasses.replace(record, configuration=configuration))).data
    results = data.eval_results
    assert results is not None
    assert [(r.metric_type, r.metric_value) for r in results] == [("accuracy", 0.8755)]
    assert data.model_name == "magika"


def test_why_the_rows_may_be_used_is_told() -> None:
    """Purpose and lawful basis of the configuration stand on the card; what is missing is said."""
    record = records.improved()
    data = dataclasses.replace(
        record.configuration.data, purpose="Sorting mails", allowed_uses=("selection",)
    )
    configuration = dataclasses.replace(record.configuration, data=data)
    text = render_card(dataclasses.replace(record, configuration=configuration))
    assert "- Purpose: Sorting mails." in text
    assert "- Allowed uses: selection." in text
    assert "- Lawful basis: not stated." in text


def test_a_noisy_gain_is_no_headline() -> None:
    """What the machine was too busy to tell is not repeated as a figure at the top."""
    record = records.noisy()
    shipped = next(t for t in record.trials if t.recipe.digest == records.STATIC.digest)
    text = render_card(dataclasses.replace(record, shipped=shipped.recipe.digest))
    assert "× faster" not in text.split("## Intended use")[0]
    assert "1.54× faster" in render_card(records.improved()).split("## Intended use")[0]
