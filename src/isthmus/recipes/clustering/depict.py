"""DEPICT: clusters from a softmax on the code of a convolutional autoencoder."""

import warnings
from dataclasses import dataclass, replace
from typing import Annotated, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F

from isthmus.anatomy import (
    Array,
    Autoencoder,
    EmbeddingCode,
    Look,
    Output,
    Part,
    Signal,
    Source,
    Stairs,
    Step,
    Term,
)
from isthmus.errors import IsthmusError
from isthmus.networks.clean_noisy import ClearAndNoisy, LayeredDecoder, LayeredEncoder, Paths
from isthmus.recipes.options import NonNegative
from isthmus.recipes.registry import recipe
from isthmus.shapes import Float

STARTS = 20
"""Starts of k-means, of which the best is kept."""

TargetName = Literal["depict", "released"]
Assignment = Literal["softmax", "student"]


def cluster_target(
    p: Float[Tensor, "rows clusters"],
    sizes: Float[Tensor, " clusters"] | None,
    name: TargetName = "depict",
) -> Float[Tensor, "rows clusters"]:
    """What the predictions ``p`` are drawn to: rows sum to one.

    ``depict`` is ``p / sqrt(sizes)``, which minimises ``KL(q || p) + KL(mean q || uniform)``
    (Dizaji et al. 2017, equation 7); ``released`` is ``p^2 / sizes``, what the authors' code
    computes instead, and DEC before them (Xie et al. 2016, equation 3).
    ``sizes`` ``(clusters,)`` are the sums of p over the data; None leaves them out, and with them
    the prior that clusters are equally large.
    """
    q = p if name == "depict" else p.square()
    if sizes is not None:
        sizes = sizes.clamp_min(torch.finfo(p.dtype).tiny)
        q = q / (sizes.sqrt() if name == "depict" else sizes)
    return q / q.sum(1, keepdim=True)


class NearCentres(nn.Module):
    """Logits ``(rows, clusters)`` whose softmax is DEC's soft assignment, ``-log(1 + |z - mu|^2)``.

    The kernel of Student's t with one degree of freedom (Xie et al. 2016, equation 1); ``weight``
    ``(clusters, latent)`` are the centres mu.
    """

    def __init__(self, latent_dim: int, clusters: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(clusters, latent_dim))

    def forward(self, z: Float[Tensor, "rows latent"]) -> Float[Tensor, "rows clusters"]:
        # Not by cdist, whose root has no derivative where a code is a centre.
        return -(z[:, None] - self.weight).square().sum(2).log1p()


@dataclass(eq=False)
class ClusterCode(EmbeddingCode):
    """A code with the logits of its clusters, ``embedding`` ``(rows, clusters)``.

    In training also ``clean`` ``(rows, latent)``, the code of the path without noise, and
    ``activations`` ``(rows, elements)``, what the decoder's layers are to rebuild.
    """

    clean: Tensor | None = None
    activations: Tensor | None = None


class ClusterSoftmax(Part):
    """A softmax over clusters, started by k-means and drawn to targets that balance the sizes.

    Until the share ``pretraining`` of the run is done, it only remembers: ``recent`` ``(memory,
    latent)`` holds the latest clean codes, at most one pass over the data. After the last update of
    that share k-means of these gives ``centres``, whose directions the softmax starts from; with
    ``assignment="student"`` it is :class:`NearCentres` of them, and starts as they are. For the
    share ``start`` of the run the targets are the nearest centres, and after that
    :func:`cluster_target` of the clean path's predictions. A target's sizes are those of the
    current softmax on the recent codes.
    """

    recent: Tensor
    centres: Tensor
    held: Tensor
    place: Tensor
    started: Tensor

    def __init__(
        self,
        latent_dim: int,
        clusters: int,
        memory: int,
        *,
        pretraining: float,
        start: float,
        target: TargetName,
        size_prior: bool,
        assignment: Assignment = "softmax",
    ) -> None:
        super().__init__()
        self.pretraining, self.joint = pretraining, pretraining + start
        self.kind, self.size_prior = target, size_prior
        self.assignment = assignment
        self.softmax = (
            nn.Linear(latent_dim, clusters)
            if assignment == "softmax"
            else NearCentres(latent_dim, clusters)
        )
        self.register_buffer("recent", torch.zeros(memory, latent_dim))
        self.register_buffer("centres", torch.zeros(clusters, latent_dim))
        self.register_buffer("held", torch.zeros((), dtype=torch.int64))
        self.register_buffer("place", torch.zeros((), dtype=torch.int64))
        self.register_buffer("started", torch.zeros((), dtype=torch.bool))
        self._due = False

    def forward(self, h: Paths, *, sample: bool = False) -> ClusterCode:
        if not sample:
            return ClusterCode(h.clean, self.softmax(h.clean))
        return ClusterCode(h.noisy, self.softmax(h.noisy), h.clean.detach().float(), h.activations)

    def observe(self, out: Output, step: Step) -> None:
        """Remember the clean codes; where the pretraining ends with this step, say so."""
        clean = out.code_as(ClusterCode, self).clean
        assert clean is not None
        self._remember(clean)
        clock = step.clock
        now, following = clock.progress, replace(clock, step=clock.step + 1).progress
        self._due = now < self.pretraining <= following

    def after_update(self) -> None:
        """Start the softmax where the pretraining has ended."""
        if self._due:
            self._begin()
            self._due = False

    def prepare(self, model: Autoencoder, look: Look) -> None:
        """Remember some codes of the untrained encoder, as many as there are rows at most."""
        x, clusters = look.tensor, len(self.centres)
        if len(x) < clusters:
            raise IsthmusError(
                f"{len(x)} rows cannot make clusters={clusters} clusters: set clusters to "
                f"{len(x)} or less"
            )
        with torch.no_grad():
            codes = model.encoder(x[: len(self.recent)]).clean
        self.held.fill_(len(codes))
        self._remember(codes)
        if self.pretraining == 0.0:
            self._begin()

    def _remember(self, codes: Tensor) -> None:
        held, place = int(self.held), int(self.place)
        codes = codes[-held:] if held else codes[:0]
        where = (place + torch.arange(len(codes), device=codes.device)) % max(1, held)
        self.recent[where] = codes
        self.place.fill_((place + len(codes)) % max(1, held))

    @torch.no_grad()
    def _begin(self) -> None:
        """Start the softmax from k-means of the recent codes."""
        # Slow to import, and only this needs it.
        from sklearn.cluster import KMeans
        from sklearn.exceptions import ConvergenceWarning

        codes = self.recent[: int(self.held)].cpu().double().numpy()
        seed = int(torch.randint(2**31 - 1, ()))
        kmeans = KMeans(len(self.centres), n_init=STARTS, random_state=seed)
        with warnings.catch_warnings():
            # Fewer distinct codes than clusters leave some clusters empty.
            warnings.simplefilter("ignore", ConvergenceWarning)
            kmeans.fit(codes)
        self.centres.copy_(torch.from_numpy(kmeans.cluster_centers_))
        if isinstance(self.softmax, NearCentres):
            self.softmax.weight.copy_(self.centres)
        else:
            self.softmax.weight.copy_(F.normalize(self.centres, dim=1))
            self.softmax.bias.zero_()
        self.started.fill_(True)

    @torch.no_grad()
    def target(self, clean: Tensor, progress: float) -> Tensor:
        """What the predictions of these clean codes are drawn to, ``(rows, clusters)``."""
        if self.pretraining <= progress < self.joint:
            nearest = torch.cdist(clean, self.centres).argmin(1)
            return F.one_hot(nearest, len(self.centres)).to(clean.dtype)
        sizes = None
        if self.size_prior and progress >= self.joint:
            sizes = self._predict(self.recent[: int(self.held)]).sum(0)
        return cluster_target(self._predict(clean), sizes, self.kind)

    def _predict(self, codes: Tensor) -> Tensor:
        return self.softmax(codes).float().softmax(1)


class LayerError(Term):
    """Squared error per element of each rebuilt layer, the hidden layers times ``hidden_weight``.

    The decoder of the noisy path rebuilds the clean path's input and activations.
    """

    name = "layer_error"
    unit = "squared error per element, summed over layers, the data in [-1, 1]"
    rebuilds = False

    def __init__(self, hidden_weight: float) -> None:
        self.hidden_weight = hidden_weight

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(ClusterCode, self)
        decoder = model.part_as("decoder", LayeredDecoder, self)
        assert code.activations is not None
        errors = (decoder.layers(code.z) - code.activations).square().split(decoder.sizes, 1)
        data, *hidden = (error.mean(1) for error in errors)
        return data + self.hidden_weight * torch.stack(hidden).sum(0)


class ClusterError(Term):
    """Cross-entropy of the noisy path's clusters with the targets."""

    name = "cluster"
    unit = "nats"
    rebuilds = False

    def forward(self, model: Autoencoder, out: Output) -> Tensor:
        code = out.code_as(ClusterCode, self)
        clusters = model.part_as("bottleneck", ClusterSoftmax, self)
        assert code.clean is not None
        target = clusters.target(code.clean, out.clock.progress)
        return -(target * code.embedding.float().log_softmax(1)).sum(1)


def memberships(model: Autoencoder, X: Array | Source) -> np.ndarray:
    """The probability of each cluster for each row of ``X``, ``(rows, clusters)``.

    ``X`` is in the user's units. A model of another recipe is an :class:`IsthmusError`.
    """
    code = model.encode(X, code=True)
    if not isinstance(code, ClusterCode):
        raise IsthmusError(
            "this model has no clusters: fit the recipe 'depict', or cluster the codes that "
            "model.encode returns"
        )
    return code.embedding.float().softmax(1).numpy()


def clusters(model: Autoencoder, X: Array | Source) -> np.ndarray:
    """The most probable cluster of each row of ``X``, int64 ``(rows,)``.

    ``X`` is in the user's units. A model of another recipe is an :class:`IsthmusError`.
    """
    return memberships(model, X).argmax(1)


@recipe(
    "depict",
    family="clustering",
    catalogue=96,
    paper="Dizaji, Herandi, Deng, Cai, Huang, Deep Clustering via Joint Convolutional Autoencoder "
    "Embedding and Relative Entropy Minimization, ICCV 2017, arXiv:1704.06327",
    formula="p = softmax(theta z),  q_ik ~ p_ik / sqrt(sum_i p_ik),  L = -mean sum_k q_ik "
    "log p~_ik + mean sum_l w_l |a_l - a^_l|^2 / |a_l|,  ~ the noisy path, a the clean layers",
    claim="Joint noisy cluster prediction and layer-wise reconstruction with a balance prior "
    "clusters better than k-means on an autoencoder's codes or DEC, and avoids empty clusters.",
    training={"epochs": 200, "lr": 1e-4, "batch_size": 100},
)
def depict(
    signal: Signal,
    *,
    clusters: Annotated[int, Field(gt=1, description="number of clusters")] = 10,
    latent_dim: Annotated[
        int | None, Field(gt=0, description="number of latents; none: as many as clusters")
    ] = None,
    maps: Annotated[
        tuple[Annotated[int, Field(gt=0)], Annotated[int, Field(gt=0)]],
        Field(description="feature maps of the two convolutions, data to latent"),
    ] = (50, 50),
    dropout: Annotated[
        float, Field(ge=0, lt=1, description="share of a layer that the noisy path sets to zero")
    ] = 0.1,
    hidden_weight: Annotated[
        NonNegative, Field(description="weight of the hidden layers' error; the data's has 1")
    ] = 0.1,
    reconstruction: Annotated[
        NonNegative,
        Field(description="weight of the layers' error after the pretraining; 0 is without"),
    ] = 1.0,
    target: Annotated[
        TargetName,
        Field(
            description="depict: p / sqrt(size), the paper's equation 7; released: p^2 / size, "
            "which sharpens, as in the authors' code"
        ),
    ] = "depict",
    assignment: Annotated[
        Assignment,
        Field(description="softmax of the code, or Student's t about centres, as DEC has it"),
    ] = "softmax",
    size_prior: Annotated[
        bool, Field(description="whether targets favour clusters of equal size")
    ] = True,
    pretraining: Annotated[
        float, Field(ge=0, lt=1, description="share of the run that only rebuilds, before k-means")
    ] = 0.3,
    start: Annotated[
        float,
        Field(ge=0, lt=1, description="share of the run after it that learns k-means' clusters"),
    ] = 0.05,
    memory: Annotated[
        int, Field(gt=0, description="recent codes that k-means and the sizes are computed from")
    ] = 5000,
) -> Autoencoder:
    """Predict clusters from a noisy path so that they match those of the clean path, balanced.

    Encoder and decoder are two convolutions and a dense layer each. The noisy path drops elements
    of the image and of the first two layers; from its code a softmax predicts clusters, and the
    decoder rebuilds the image and both hidden layers of the clean path. First the autoencoder
    trains alone. Then k-means of the clean codes gives each row a cluster to learn, and after
    a while the targets are the clean path's own predictions, divided by the root of the clusters'
    sizes: large clusters give rows away, and none is empty. :func:`clusters` and
    :func:`memberships` read the result. ``reconstruction=0`` and ``size_prior=false`` are the
    paper's ablations. Its rival DEC on the same networks is ``assignment=student``,
    ``target=released``, ``reconstruction=0``, ``start=0`` and ``dropout=0``: centres that codes
    are drawn to, and no decoder after the pretraining.

    From the paper and the released code: 50 maps each, kernels of 4 and 5 with stride 2 (they fit
    images from 4 pixels on, and so 8x8 as they are; an odd side is padded by a pixel), as many
    latents as clusters, tanh on code and output, leaky rectifiers of 0.01, Glorot's start, images
    scaled to [-1, 1], dropout 0.1, weight 0.1 on hidden layers, Adam at 1e-4, batches of 100, a
    softmax started from the directions of k-means' centres. The default target is the paper's
    equation 7; the released code squares p instead, as DEC does (``target=released``).

    Other than published, for a laptop and one loop over steps: the stages are shares of a run of
    200 epochs, where the code stops each by a validation score, within 4000; targets are computed
    with each batch, where the code computes them once an epoch; k-means and the clusters' sizes
    come from the latest ``memory`` clean codes, at most one epoch; while the softmax is started,
    a row's target is the k-means centre that its code is nearest to; k-means replaces
    agglomerative clustering for small sets.
    """
    if pretraining + start >= 1.0:
        raise IsthmusError(
            f"pretraining={pretraining} and start={start} leave no part of the run for the "
            "clusters: choose smaller shares"
        )
    latent = clusters if latent_dim is None else latent_dim
    encoder = LayeredEncoder(signal, latent, maps)
    objective = LayerError(hidden_weight) * Stairs((1.0, reconstruction), (pretraining,))
    return Autoencoder(
        signal,
        encoder=ClearAndNoisy(encoder, dropout),
        bottleneck=ClusterSoftmax(
            latent,
            clusters,
            memory,
            pretraining=pretraining,
            start=start,
            target=target,
            size_prior=size_prior,
            assignment=assignment,
        ),
        decoder=LayeredDecoder(encoder),
        objective=objective + ClusterError() * Stairs((0.0, 1.0), (pretraining,)),
    )
