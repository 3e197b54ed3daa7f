"""CLIP zero-shot classification by text prompts (Radford et al., ICML 2021), an upper reference."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

import torch
from pydantic import Field, field_validator
from torch import Tensor
from torch.nn import functional as F

from zslkit.errors import UserError
from zslkit.features.backbones import Backbone
from zslkit.model import Model, ModelConfig, Task, Trainer, TrainingView

from .clip_prompts import SLOT, attribute_prompts, name_prompts
from .clip_towers import clip_model, embed_texts, image_encoder


class CLIPConfig(ModelConfig):
    """Settings of CLIP."""

    architecture: str = Field(
        "ViT-B-32-quickgelu",
        description=(
            "an open_clip model with CLIP's own tokenizer, or tiny: two layers, to try things out"
        ),
    )
    weights: str = Field(
        "openai",
        description=(
            "a file (.safetensors or a torch state dict), a tag in open_clip's cache, or random"
        ),
    )
    prompts: Literal["names", "attributes"] = Field(
        "names", description="what a class is told by: its name, or its strongest attributes"
    )
    templates: tuple[str, ...] = Field(
        ("a photo of a {}.",), min_length=1, description="sentences around a name; all are averaged"
    )
    attribute_templates: tuple[str, ...] = Field(
        ("a photo of something with {}.",),
        min_length=1,
        description="sentences around attributes; all are averaged",
    )
    strongest: int = Field(
        8, ge=1, description="with prompts=attributes: how many of them stand in a sentence"
    )
    attribute_words: dict[str, str] = Field(
        {}, description="with prompts=attributes: attribute name -> plain words to say instead"
    )

    @field_validator("templates", "attribute_templates")
    @classmethod
    def _one_slot(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if template.count(SLOT) != 1:
                raise ValueError(
                    f"each template has one {SLOT} where the class goes, and {template!r} has "
                    f"{template.count(SLOT)}"
                )
        return templates


class CLIP(Model):
    """Scores 100 cos(x, t_k) of image embedding x and text embedding t_k of class k.

    t_k is the normalised mean of the normalised embeddings of the class's sentences (section 3.1.4
    of the paper). `fit` only embeds the sentences; no image is trained on.
    """

    inputs = ("pooled",)
    protocol = "class-inductive"
    pretraining_note: ClassVar[str] = "pretraining may have seen the classes"
    citation = (
        "Radford et al. Learning transferable visual models from natural language "
        "supervision. ICML 2021"
    )
    presets = "presets/clip"
    Config = CLIPConfig
    check_settings: ClassVar = {"architecture": "tiny", "weights": "random"}
    expected_failures: ClassVar = {
        "learns": (
            "it trains on no image, and the weights that checks can have without a file are random"
        ),
    }

    config: CLIPConfig
    texts: Tensor

    def __init__(self, config: CLIPConfig, task: Task) -> None:
        super().__init__(config, task)
        self.register_buffer("texts", torch.zeros(task.n_classes, task.feature_shape[0]))

    @classmethod
    def image_encoder(cls, config: Any) -> Backbone:
        """CLIP's image encoder. Raises as zslkit_baselines.clip_towers.clip_model."""
        return image_encoder(config.architecture, config.weights)

    def sentences(self) -> list[tuple[str, ...]]:
        """Sentences of each class. Raises UserError as zslkit_baselines.clip_prompts."""
        config, task = self.config, self.task
        if config.prompts == "names":
            return name_prompts(task.classes, config.templates)
        names, words = task.attribute_names, config.attribute_words
        return attribute_prompts(
            task.attributes,
            task.classes,
            names,
            config.attribute_templates,
            config.strongest,
            words,
        )

    def fit(self, view: TrainingView, trainer: Trainer) -> None:
        """Embed the sentences of all classes; the view is not used."""
        prompts = self.sentences()
        model, _ = clip_model(self.config.architecture, self.config.weights)
        flat = [sentence for of_class in prompts for sentence in of_class]
        embedded = F.normalize(
            embed_texts(model, self.config.architecture, flat, trainer.device), dim=1
        )
        texts = F.normalize(embedded.view(len(prompts), -1, embedded.shape[1]).mean(dim=1), dim=1)
        if texts.shape != self.texts.shape:
            raise UserError(
                f"clip: the images are embedded in {self.texts.shape[1]} dimensions and the "
                f"sentences in {texts.shape[1]}; "
                "they must come from one model"
            )
        self.texts.copy_(texts)
        trainer.log(classes=len(prompts), sentences=len(flat))

    def scores(self, x: Tensor) -> Tensor:
        return 100 * F.normalize(x, dim=1) @ self.texts.T
