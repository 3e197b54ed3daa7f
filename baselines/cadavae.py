"""CADA-VAE: two variational autoencoders, of features and of attributes, that share a latent space (Schoenfeld et al., CVPR 2019)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from baselines.generative import Generative, GenerativeConfig, SoftmaxConfig, descend, drawn, normal, of_each
from baselines.vae import Posterior, divergence, l1, wasserstein
from zslkit.config import Config
from zslkit.model import Kept, Task, Trainer


class WarmUp(Config):
    """A weight that is 0 up to an epoch, then rises evenly, and stays as it is from another epoch on."""

    factor: float = Field(0.25, ge=0, description="the weight at the end of the rise")
    start: int = Field(0, ge=0, description="last epoch without weight")
    end: int = Field(93, ge=0, description="first epoch at full weight")

    def at(self, epoch: int) -> float:
        """The weight in an epoch, counted from 0."""
        if self.end <= self.start:
            return self.factor if epoch >= self.end else 0.0
        return self.factor * min(1.0, max(0.0, (epoch - self.start) / (self.end - self.start)))


class Cross(WarmUp):
    """That of the cross-reconstruction."""

    factor: float = Field(2.37, ge=0)
    start: int = Field(21, ge=0)
    end: int = Field(75, ge=0)


class Alignment(WarmUp):
    """That of the distance between the two posteriors."""

    factor: float = Field(8.13, ge=0)
    start: int = Field(6, ge=0)
    end: int = Field(22, ge=0)


class CADAVAESoftmaxConfig(SoftmaxConfig):
    """The classifier of the authors' program."""

    epochs: int = Field(23, ge=1)
    batch_size: int = Field(32, ge=1)


class CADAVAEConfig(GenerativeConfig):
    """Settings of CADA-VAE; the defaults are those of the authors' program, which are the same for all datasets."""

    noise: Literal["released", "textbook"] = Field(
        "released",
        description="released: sigma^2 times one number for all latent dimensions of an image; textbook: sigma times one for each",
    )
    classifier: CADAVAESoftmaxConfig = CADAVAESoftmaxConfig()

    epochs: int = Field(100, ge=1)
    batch_size: int = Field(50, ge=1)
    lr: float = Field(1.5e-4, gt=0, description="of Adam")
    latent: int = Field(64, ge=1, description="width of the shared space")
    feature_encoder: int = Field(1560, ge=1, description="hidden units")
    feature_decoder: int = Field(1660, ge=1, description="hidden units")
    attribute_encoder: int = Field(1450, ge=1, description="hidden units")
    attribute_decoder: int = Field(665, ge=1, description="hidden units")
    beta: WarmUp = Field(WarmUp(), description="of the Kullback-Leibler divergences")
    cross: Cross = Field(Cross(), description="of the cross-reconstruction")
    alignment: Alignment = Field(Alignment(), description="of the distance between the two posteriors")
    seen_latents: int = Field(200, ge=1, description="latents that the classifier is given of each seen class, made of its images")
    unseen_latents: int = Field(400, ge=1, description="latents of each unseen class, made of its attributes")


class CADAVAE(Generative):
    """Encoders q(z|x) = N(mu_x, diag sigma_x^2) and q(z|a), decoders D_x (B, L) -> (B, D) and D_a (B, L) -> (B, A); minimises

        |x - D_x(z_x)|_1 + |a - D_a(z_a)|_1                                  reconstruction
        + beta * (KL(q(z|x) || N(0, I)) + KL(q(z|a) || N(0, I)))             divergence
        + gamma * (|x - D_x(z_a)|_1 + |a - D_a(z_x)|_1)                      cross-reconstruction
        + delta * (||mu_x - mu_a||^2 + ||sigma_x - sigma_a||^2)^(1/2)        alignment: 2-Wasserstein distance

    summed over dimensions and the batch; z_x and z_a are drawn from q(z|x) and q(z|a) of the same image's class, (B, L). The
    three weights warm up over epochs. The softmax is trained on latents, each drawn once: of the seen classes from q(z|x) of their
    first images, of the unseen ones from q(z|a); a test image is answered at mu_x.

    The authors' program draws z = mu + sigma^2 * e with one number e ~ N(0, 1) for all dimensions of an image; with the usual
    mu + sigma * e and a number for each dimension (noise=textbook) the posterior nearly collapses under the released weights.

    Start: Xavier uniform with gain 1/2 and biases 0, the classifier too. Adam with AMSGrad.
    """

    inputs = ("pooled",)
    protocol = "class-inductive"
    citation = (
        "Schoenfeld, Ebrahimi, Sinha, Darrell and Akata. Generalized zero- and few-shot learning via aligned variational autoencoders. "
        "CVPR 2019"
    )
    presets = "presets/cadavae"
    check_settings: ClassVar = {
        "lr": 1e-2,
        "latent": 16,
        "batch_size": 16,
        "feature_encoder": 64,
        "feature_decoder": 64,
        "attribute_encoder": 64,
        "attribute_decoder": 64,
        "beta.factor": 0.01,
        "beta.end": 10,
        "cross.start": 2,
        "cross.end": 10,
        "alignment.factor": 0.5,
        "alignment.start": 0,
        "alignment.end": 5,
        "seen_latents": 20,
        "unseen_latents": 40,
        "classifier.batch_size": 16,
        "classifier.lr": 0.03,
    }
    Config = CADAVAEConfig

    config: CADAVAEConfig

    def __init__(self, config: CADAVAEConfig, task: Task) -> None:
        super().__init__(config, task)
        width, latent = task.feature_shape[0], config.latent
        self.encode_x = Encoder(width, config.feature_encoder, latent)
        self.encode_a = Encoder(task.n_attributes, config.attribute_encoder, latent)
        self.decode_x = decoder(latent, config.feature_decoder, width)
        self.decode_a = decoder(latent, config.attribute_decoder, task.n_attributes)
        self.classifier = nn.Linear(latent, task.n_classes)
        for part in self.modules():
            if isinstance(part, nn.Linear):
                nn.init.xavier_uniform_(part.weight, gain=0.5)
                nn.init.zeros_(part.bias)

    def space(self, x: Tensor) -> Tensor:
        mu: Tensor = self.encode_x(x)[0]
        return mu

    def learn(self, x: Tensor, label: Tensor, trainer: Trainer, random: torch.Generator) -> None:
        config = self.config
        networks = nn.ModuleList([self.encode_x, self.encode_a, self.decode_x, self.decode_a])
        optimizer = torch.optim.Adam(networks.parameters(), lr=config.lr, amsgrad=True)
        steps = math.ceil(len(x) / config.batch_size)
        keeps: dict[str, Kept] = {"networks": networks, "optimizer": optimizer, "random": random}
        for epoch in (stage := trainer.stage("vae", config.epochs, keeps, steps=steps, mend="lower lr")):
            weights = {key: warm_up.at(epoch) for key, warm_up in self.warm_ups.items()}
            for _ in range(steps):
                index = drawn(len(x), config.batch_size, random)
                noise = self.noise(len(index), random), self.noise(len(index), random)
                idle = [key for key, weight in weights.items() if weight == 0]
                terms = self.terms(x[index], self.attributes[label[index]], noise, skip=idle)
                stage.step(**terms)
                descend(optimizer, torch.stack([weights.get(key, 1.0) * term for key, term in terms.items()]).sum())

    @property
    def warm_ups(self) -> dict[str, WarmUp]:
        """By term, what its weight does; the reconstruction's is 1."""
        return {"divergence": self.config.beta, "cross": self.config.cross, "alignment": self.config.alignment}

    def terms(self, x: Tensor, a: Tensor, noise: tuple[Tensor, Tensor], skip: Sequence[str] = ()) -> dict[str, Tensor]:
        """The terms before they are weighed, scalars.

        Args:
            x: Scaled features (B, D).
            a: Attributes of their classes (B, A).
            noise: Of z_x and of z_a, as `self.noise` draws it.
            skip: Terms that have no weight yet and need not be computed.
        """
        posterior_x, posterior_a = self.encode_x(x), self.encode_a(a)
        z_x, z_a = self.latents(posterior_x, noise[0]), self.latents(posterior_a, noise[1])
        terms = {"reconstruction": l1(self.decode_x(z_x), x) + l1(self.decode_a(z_a), a)}
        if "divergence" not in skip:
            terms["divergence"] = divergence(posterior_x) + divergence(posterior_a)
        if "cross" not in skip:
            terms["cross"] = l1(self.decode_x(z_a), x) + l1(self.decode_a(z_x), a)
        if "alignment" not in skip:
            terms["alignment"] = wasserstein(posterior_x, posterior_a)
        return {name: len(x) * mean for name, mean in terms.items()}

    def noise(self, rows: int, random: torch.Generator) -> Tensor:
        """Standard normal numbers (rows, 1) as released, (rows, L) as in textbooks."""
        return normal(rows, 1 if self.config.noise == "released" else self.config.latent, random)

    def latents(self, posterior: Posterior, noise: Tensor) -> Tensor:
        """z (B, L), drawn with that noise."""
        mu, log_variance = posterior
        return mu + (log_variance if self.config.noise == "released" else log_variance / 2).exp() * noise

    def lesson(self, x: Tensor, label: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
        seen = of_each(self.seen.nonzero().flatten(), self.config.seen_latents)
        unseen = of_each((~self.seen).nonzero().flatten(), self.config.unseen_latents)
        posteriors = self.encode_x(x[first_images(label, seen)]), self.encode_a(self.attributes[unseen])
        latents = [self.latents(p, self.noise(len(p[0]), random)) for p in posteriors]
        return torch.cat(latents), torch.cat([seen, unseen])


class Encoder(nn.Module):
    """Inputs (B, I) to the mean and the logarithm of the variance, (B, L) each, of a diagonal normal distribution."""

    def __init__(self, width: int, hidden: int, latent: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, hidden)
        self.mu, self.log_variance = nn.Linear(hidden, latent), nn.Linear(hidden, latent)

    def forward(self, x: Tensor) -> Posterior:
        h = torch.relu(self.hidden(x))
        return self.mu(h), self.log_variance(h)


def decoder(latent: int, hidden: int, width: int) -> nn.Sequential:
    """Latents (B, L) to inputs (B, width)."""
    return nn.Sequential(nn.Linear(latent, hidden), nn.ReLU(), nn.Linear(hidden, width))


def first_images(label: Tensor, wanted: Tensor) -> Tensor:
    """Places (M,) of images: each class's first ones in order, over again where more are wanted than there are.

    label (N,) of all images; wanted (M,) classes in blocks, each with an image.
    """
    order = label.argsort(stable=True)
    counts = torch.bincount(label, minlength=int(wanted.max()) + 1)
    first = counts.cumsum(dim=0) - counts
    _, block, sizes = torch.unique_consecutive(wanted, return_inverse=True, return_counts=True)
    within = torch.arange(len(wanted), device=wanted.device) - (sizes.cumsum(dim=0) - sizes)[block]
    place: Tensor = order[first[wanted] + within % counts[wanted]]
    return place
