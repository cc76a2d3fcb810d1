"""The loader `huggingface`: a folder with config.json, safetensors and tokenizer files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

from jettison.domain.encoder import Encoder, Setting
from jettison.domain.extension_points import Source
from jettison.domain.model import Artifact, Model, TensorSpec
from jettison.errors import ModelError
from jettison.graphs.huggingface_files import (
    CONFIG,
    HEADS,
    IMAGES,
    TOKENS,
    head_of,
    model_files,
    read_config,
    summarise_safetensors,
    weight_files,
)
from jettison.graphs.image_processor import PROCESSOR, image_settings, read_processor
from jettison.graphs.pooling import (
    Pooling,
    default_prompt,
    lowers_texts,
    read_pooling,
    write_pooling,
)
from jettison.graphs.tokenizer_files import (
    DEFAULT_LENGTH,
    TOKENIZER,
    copy_files,
    lower_case,
    optional_json,
    padding_id,
    token_limit,
)

VOCABULARIES = ("vocab.txt", "vocab.json", "*.model", "*.spm", "*.tiktoken")
BODY = "Model"

FEATURES = "feature-extraction"
"""The task that asks for the vector of each token; it is judged as an embedding is."""

TOKEN_CLASSES = "token-classification"


class HuggingfaceLoader:
    """Copies what belongs to the model, checks it, and describes it."""

    name: ClassVar[str] = "huggingface"

    def claims(self, source: Source) -> bool:
        """Whether the source is a folder with a config.json."""
        return bool(source.location) and (Path(source.location) / CONFIG).is_file()

    def load(self, source: Source, folder: Path) -> Model:
        """Copies model and tokenizer (or image processor) into `folder/model`, `folder/encoder`.

        Options: `max_length` (tokens a text is cut to; the default is 256 or what the model
        allows, if that is less).

        Raises:
            ModelError: for remote code, pickles, damaged files, an unknown or unsupported
                architecture, a missing tokenizer or image processor, or a `max_length` beyond
                the model.
        """
        origin = Path(source.location)
        config = read_config(origin)
        _refuse_code(origin, config)
        task = _task(source, origin, config)
        kept = weight_files(origin)
        stored = summarise_safetensors(origin / n for n in kept if n.endswith(".safetensors"))
        home = folder / "model"
        copy_files(origin, (CONFIG, *kept), home)
        describe = _images if head_of(config) == IMAGES else _texts
        model = describe(source, config, task, folder)
        kind = "float32" if stored.floats == {"F32"} else "float16"
        return model.with_traits(add=frozenset({"torch", "dense", kind}), remove=frozenset())


def _texts(source: Source, config: Mapping[str, Any], task: str, folder: Path) -> Model:
    origin, home = Path(source.location), folder / "model"
    max_length = _max_length(source, origin, config)
    settings: dict[str, Setting] = {"max_length": max_length}
    worded = False
    if not head_of(dict(config)):
        pooling = (
            Pooling("none", normalize=False, stated=True)
            if task == FEATURES
            else read_pooling(origin)
        )
        settings.update(pooling=pooling.mode, normalize=pooling.normalize)
        settings.update(pooling_stated=pooling.stated)
        write_pooling(pooling, home)
        worded = pooling.stated and task != FEATURES
    settings["pad_id"] = pad_id = _take_tokenizer(origin, folder / "encoder", config)
    if worded:
        _word_as_sentence_transformers(origin, settings, folder / "encoder" / TOKENIZER)
    encoder = Encoder.of(
        "tokenizer",
        settings,
        folder=folder / "encoder",
        files=(TOKENIZER,),
        labels=_labels(config) if task in ("classification", TOKEN_CLASSES) else (),
    )
    inputs, outputs = _try(home, max_length, pad_id)
    return Model(
        artifact=Artifact.of("huggingface_folder", home, model_files(home)),
        traits=frozenset({"matmul", "attention"}),
        inputs=inputs,
        outputs=outputs,
        prediction=outputs[0].name,
        task="embedding" if task == FEATURES else task,
        encoder=encoder,
    )


def _word_as_sentence_transformers(
    origin: Path, settings: dict[str, Setting], tokenizer: Path
) -> None:
    """What it does to each text: the prompt in front, and lower case."""
    if prompt := default_prompt(origin):
        settings["prompt"] = prompt
    if lowers_texts(origin):
        lower_case(tokenizer)


def _images(source: Source, config: Mapping[str, Any], task: str, folder: Path) -> Model:
    from jettison.graphs.torch_image import open_image_model

    origin, home = Path(source.location), folder / "model"
    # Before the copy, so that what is refused is named as the user's own file.
    image_settings(read_processor(origin), config, origin / PROCESSOR)
    copy_files(origin, (PROCESSOR,), home)
    module = open_image_model(home)
    signature = module.signature
    return Model(
        artifact=Artifact.of("huggingface_folder", home, model_files(home)),
        traits=module.kinds_of_layers(),
        inputs=signature.inputs,
        outputs=(TensorSpec("logits", "float32", ("batch", module.answer_width())),),
        prediction="logits",
        task=task,
        encoder=Encoder.of("image", module.settings, labels=_labels(config)),
    )


def _refuse_code(origin: Path, config: Mapping[str, Any]) -> None:
    for name in (CONFIG, "tokenizer_config.json"):
        held = config if name == CONFIG else optional_json(origin / name)
        if "auto_map" in held:
            raise ModelError(
                f"{origin / name} asks for Python code that comes with the model (`auto_map`); "
                "jettison never runs code from a model: use a model that transformers itself "
                "knows, or export it to ONNX in its own environment and give that file"
            )
    if "quantization_config" in config:
        raise ModelError(
            f"the weights in {origin} are quantized already (`quantization_config` in {CONFIG}); "
            "give the model as it was before quantization"
        )


def _task(source: Source, origin: Path, config: Mapping[str, Any]) -> str:
    """Finds out what the architecture is for, and whether it can be used."""
    architectures = [str(name) for name in config.get("architectures") or ()]
    allowed = ", ".join(f"`*{head}`" for head in HEADS)
    allowed += f", or an encoder (`*{BODY}`) for embeddings or the vectors of its tokens"
    if not architectures or not config.get("model_type"):
        raise ModelError(
            f"{origin / CONFIG} must name `model_type` and `architectures`; "
            "save the model again with `model.save_pretrained(folder)`"
        )
    _require_known(origin, str(config["model_type"]), architectures[0])
    head = head_of(dict(config))
    if head == TOKENS:
        found = TOKEN_CLASSES
    elif head:
        found = _head_task(origin, config)
    elif config.get("is_encoder_decoder"):
        raise ModelError(f"`{architectures[0]}` in {origin} has a decoder; allowed: {allowed}")
    elif source.task == FEATURES:
        found = FEATURES
    elif (
        architectures[0].endswith(BODY)
        or (origin / "modules.json").exists()
        or source.task == "embedding"
    ):
        found = "embedding"
    else:
        raise ModelError(
            f"`{architectures[0]}` in {origin} is not supported; allowed: {allowed}; to use its "
            f'encoder, say task = "embedding" or "{FEATURES}"'
        )
    if source.task and source.task != found:
        raise ModelError(
            f"task `{source.task}` was asked for, but `{architectures[0]}` in {origin} is for "
            f"`{found}`; leave the task out, or give another model"
        )
    return found


def _require_known(origin: Path, model_type: str, architecture: str) -> None:
    import transformers

    if model_type not in transformers.CONFIG_MAPPING or not hasattr(transformers, architecture):
        raise ModelError(
            f"transformers {transformers.__version__} does not know `{architecture}` (model_type "
            f"`{model_type}`) of {origin / CONFIG}; upgrade transformers, or export the model to "
            "ONNX in its own environment and give that file"
        )


def _head_task(origin: Path, config: Mapping[str, Any]) -> str:
    problem = config.get("problem_type")
    if problem == "multi_label_classification":
        raise ModelError(
            f"the classifier in {origin} gives several labels at once (`problem_type` is "
            f"{problem}); supported are one label of several, and regression"
        )
    return (
        "regression" if problem == "regression" or len(_labels(config)) == 1 else "classification"
    )


def _labels(config: Mapping[str, Any]) -> tuple[str, ...]:
    # transformers leaves its default of two labels out of the file.
    names = config.get("id2label") or {"0": "LABEL_0", "1": "LABEL_1"}
    try:
        ordered = sorted((int(index), str(name)) for index, name in dict(names).items())
    except (TypeError, ValueError) as error:
        raise ModelError(f"`id2label` of {CONFIG} must map 0, 1, ... to names: {names}") from error
    if [index for index, _ in ordered] != list(range(len(ordered))):
        raise ModelError(f"`id2label` of {CONFIG} must number its labels 0, 1, ...; got {names}")
    return tuple(name for _, name in ordered)


def _max_length(source: Source, origin: Path, config: Mapping[str, Any]) -> int:
    asked = int(source.options.get("max_length", 0))
    positions = config.get("max_position_embeddings")
    soft = optional_json(origin / "sentence_bert_config.json").get("max_seq_length")
    hard = (positions, token_limit(origin))
    limit = min((int(v) for v in hard if isinstance(v, int) and v > 0), default=0)
    if asked < 0 or asked == 1 or (limit and asked > limit):
        raise ModelError(
            f"max_length must be from 2 to {limit or 'any length'} tokens for the model in "
            f"{origin}; got {asked}"
        )
    default = min(v for v in (DEFAULT_LENGTH, limit, soft) if isinstance(v, int) and v > 0)
    return asked or default


def _take_tokenizer(origin: Path, folder: Path, config: Mapping[str, Any]) -> int:
    """Puts tokenizer.json into the folder; gives the id of the padding token."""
    if (origin / TOKENIZER).is_file():
        copy_files(origin, (TOKENIZER,), folder)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        _convert_tokenizer(origin, folder / TOKENIZER)
    number = config.get("pad_token_id")
    return padding_id(origin, folder / TOKENIZER, number if isinstance(number, int) else 0)


def _convert_tokenizer(origin: Path, target: Path) -> None:
    if not any(path for pattern in VOCABULARIES for path in origin.glob(pattern)):
        raise ModelError(
            f"{origin} has no {TOKENIZER} and no vocabulary ({', '.join(VOCABULARIES)}); save the "
            "tokenizer beside the model with `tokenizer.save_pretrained(folder)`"
        )
    import transformers

    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(origin), local_files_only=True, trust_remote_code=False, use_fast=True
        )
        tokenizer.backend_tokenizer.save(str(target))
    except (OSError, ValueError, AttributeError, ImportError, KeyError) as error:
        raise ModelError(
            f"the tokenizer in {origin} can't be converted to {TOKENIZER}: {error}; in its own "
            "environment, run `AutoTokenizer.from_pretrained(folder).save_pretrained(folder)`"
        ) from error


def _try(
    home: Path, max_length: int, pad_id: int
) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """Runs the model once at its full length; finds out its inputs and outputs."""
    from jettison.graphs.torch_text import open_text_model

    module = open_text_model(home)
    shape = module.answer_shape(max_length, pad_id)
    signature = module.signature
    return signature.inputs, (TensorSpec(signature.outputs[0], "float32", shape),)
