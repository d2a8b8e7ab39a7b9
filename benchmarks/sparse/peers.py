"""Other libraries' training steps on batches that are given to them, without hub and logging.

Each class runs what its library's own trainer runs in one step, with that library's defaults: its
model, initialisation, loss, clipping, dead-latent counters, optimiser, schedules and decoder norms.
Where the trainer is a class that takes batches it is called itself (SAELens, dictionary_learning,
overcomplete); sparsify's is bound to a language model, so its step is written out after
``sparsify/trainer.py``.

Where defaults are a number of steps or tokens (warm-ups, windows after which a latent is dead),
a run takes at most a tenth of its own length, as isthmus does: a published warm-up of 1000 steps
would cost a run of 2000 half of its learning.

Kinds: topk, relu-l1, batchtopk, jumprelu, in SAELens and dictionary_learning gated; sparsify has
topk alone.
"""

import importlib.util
import sys
import tempfile
import types
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

DEAD_TOKENS = 10_000_000


class Peer(ABC):
    """One dictionary in training: ``d`` -> ``width``, planned for ``steps`` batches of ``batch``.

    ``rate`` multiplies the library's own learning rate; ``sparsity`` replaces the coefficient of
    a penalty.
    """

    kinds: tuple[str, ...] = ("topk", "relu-l1", "batchtopk", "jumprelu")

    def __init__(
        self,
        kind: str,
        d: int,
        width: int,
        k: int,
        batch: int,
        steps: int,
        rate: float = 1.0,
        sparsity: float | None = None,
        **options: Any,
    ) -> None:
        self.kind, self.d, self.width, self.k = kind, d, width, k
        self.batch, self.planned, self.rate, self.sparsity = batch, steps, rate, sparsity
        self.build(**options)

    @abstractmethod
    def build(self, **options: Any) -> None:
        """Make the model and its optimiser; the generators are seeded."""

    @abstractmethod
    def run(self, batches: list[Tensor]) -> None:
        """One optimiser step on each batch ``(batch, d)``."""

    @abstractmethod
    def decoder(self) -> np.ndarray:
        """The dictionary's rows, ``(width, d)``."""

    @abstractmethod
    def rebuild(self, x: Tensor) -> tuple[Tensor, float]:
        """Reconstruction of ``x`` by the library's inference rule, and the mean number active."""

    def within(self, steps: int) -> int:
        """A default number of steps, or a tenth of the run where that is less."""
        return min(steps, max(1, self.planned // 10))

    def given(self, coefficient: float) -> float:
        """The coefficient of the penalty: the one asked for, else the library's."""
        return coefficient if self.sparsity is None else self.sparsity


class Sparsify(Peer):
    """eai-sparsify. Its default optimiser is ``signum``; ``adam`` is its own alternative."""

    kinds = ("topk",)

    def build(self, optimizer: str = "signum", auxk_alpha: float = 0.0) -> None:
        from sparsify import SparseCoder, SparseCoderConfig

        torch.set_float32_matmul_precision("high")  # the first line of Trainer.fit
        self.auxk_alpha = auxk_alpha
        self.sae = SparseCoder(self.d, SparseCoderConfig(num_latents=self.width, k=self.k))
        scale = (self.width / 2**14) ** 0.5
        if optimizer == "adam":
            from transformers import get_linear_schedule_with_warmup

            lr = self.rate * 2e-4 / scale
            self.optimizer = torch.optim.Adam([{"params": self.sae.parameters(), "lr": lr}])
            self.schedulers = [
                get_linear_schedule_with_warmup(self.optimizer, self.within(1000), self.planned)
            ]
        else:
            from schedulefree import ScheduleFreeWrapper
            from sparsify.sign_sgd import SignSGD

            groups = [{"params": self.sae.parameters(), "lr": self.rate * 5e-3 / scale}]
            self.optimizer = ScheduleFreeWrapper(SignSGD(groups), momentum=0.95)
            self.optimizer.train()
            self.schedulers = []
        self.silent = torch.zeros(self.width, dtype=torch.long)
        self.fired = torch.zeros(self.width, dtype=torch.bool)
        self.dead_after = min(DEAD_TOKENS, self.planned * self.batch // 10)
        self.first = True

    def run(self, batches: list[Tensor]) -> None:
        for x in batches:
            self._step(x)

    def _step(self, x: Tensor) -> None:
        sae = self.sae
        if self.first:
            sae.b_dec.data = x.mean(0)
            self.first = False
        sae.set_decoder_norm_to_unit_norm()
        dead = self.silent > self.dead_after if self.auxk_alpha > 0 else None
        out = sae(x=x, y=x, dead_mask=dead)
        self.fired[out.latent_indices.flatten()] = True
        float(out.fvu.detach())
        (out.fvu + self.auxk_alpha * out.auxk_loss + out.multi_topk_fvu / 8).backward()
        sae.remove_gradient_parallel_to_decoder_directions()
        self.optimizer.step()
        self.optimizer.zero_grad()
        for scheduler in self.schedulers:
            scheduler.step()
        with torch.no_grad():
            self.silent += len(x)
            self.silent[self.fired] = 0
            self.fired.zero_()

    def _at(self, what: Callable[[], Any]) -> Any:
        """Its schedule-free optimiser shows the weights to use in evaluation mode only."""
        wrapped = hasattr(self.optimizer, "eval")
        if wrapped:
            self.optimizer.eval()
        with torch.no_grad():
            result = what()
        if wrapped:
            self.optimizer.train()
        return result

    def decoder(self) -> np.ndarray:
        return self._at(lambda: self.sae.W_dec.detach().clone().numpy())

    def rebuild(self, x: Tensor) -> tuple[Tensor, float]:
        def rebuilt() -> tuple[Tensor, float]:
            code = self.sae.encode(x)
            recon = self.sae.decode(code.top_acts, code.top_indices)
            return recon, float((code.top_acts > 0).sum(1).float().mean())

        return self._at(rebuilt)


class SAELens(Peer):
    """sae-lens: its ``SAETrainer``. Speed options: ``sparse`` (topk) and ``autocast``."""

    kinds = (*Peer.kinds, "gated")

    def build(self, sparse: bool = False, autocast: bool = False) -> None:
        import sae_lens as lens
        from sae_lens.config import SAETrainerConfig

        shape: dict[str, Any] = {"d_in": self.d, "d_sae": self.width}
        if self.kind == "topk":
            # Its sparse mode cannot be differentiated through the rescaling that is its default
            # (torch has no gradient of a sparse times a broadcast dense tensor).
            config = lens.TopKTrainingSAEConfig(
                k=self.k,
                use_sparse_activations=sparse,
                rescale_acts_by_decoder_norm=not sparse,
                **shape,
            )
            sae = lens.TopKTrainingSAE(config)
        elif self.kind == "batchtopk":
            sae = lens.BatchTopKTrainingSAE(lens.BatchTopKTrainingSAEConfig(k=self.k, **shape))
        elif self.kind == "relu-l1":
            penalty = self.given(1.0)
            config = lens.StandardTrainingSAEConfig(l1_coefficient=penalty, **shape)
            sae = lens.StandardTrainingSAE(config)
        elif self.kind == "gated":
            penalty = self.given(1.0)
            config = lens.GatedTrainingSAEConfig(l1_coefficient=penalty, **shape)
            sae = lens.GatedTrainingSAE(config)
        else:
            penalty = self.given(1.0)
            config = lens.JumpReLUTrainingSAEConfig(l0_coefficient=penalty, **shape)
            sae = lens.JumpReLUTrainingSAE(config)
        lr = self.rate * 3e-4
        self.trainer = lens.SAETrainer(
            SAETrainerConfig(
                total_training_samples=self.planned * self.batch,
                train_batch_size_samples=self.batch,
                lr=lr,
                lr_end=lr / 10,
                autocast=autocast,
                dead_feature_window=self.within(1000),
            ),
            sae,
            data_provider=iter(()),
        )

    def run(self, batches: list[Tensor]) -> None:
        for x in batches:
            self.trainer.maybe_reset_sparsity()
            self.trainer.step(x)
            self.trainer.n_training_steps += 1

    def decoder(self) -> np.ndarray:
        return self.trainer.sae.W_dec.detach().clone().numpy()

    @torch.no_grad()
    def rebuild(self, x: Tensor) -> tuple[Tensor, float]:
        from sae_lens import SAE

        with tempfile.TemporaryDirectory() as folder:
            self.trainer.sae.save_inference_model(folder)
            sae = SAE.load_from_disk(folder)
        z = sae.encode(x)
        return sae.decode(z), float((z != 0).sum(1).float().mean())


class DictionaryLearning(Peer):
    """dictionary-learning: the ``update`` of its trainers."""

    kinds = (*Peer.kinds, "gated")

    def build(self) -> None:
        from dictionary_learning import trainers

        common: dict[str, Any] = {
            "steps": self.planned, "activation_dim": self.d, "dict_size": self.width, "layer": 0,
            "lm_name": "none", "device": "cpu", "warmup_steps": self.within(1000),
        }  # fmt: skip
        if self.kind in ("topk", "batchtopk"):
            names = {"topk": trainers.TopKTrainer, "batchtopk": trainers.BatchTopKTrainer}
            lr = self.rate * 2e-4 / (self.width / 2**14) ** 0.5
            start = self.within(1000)
            common |= {"k": self.k, "lr": lr, "threshold_start_step": start}
            self.trainer = names[self.kind](**common)
        elif self.kind == "relu-l1":
            common |= {"lr": self.rate * 1e-3, "l1_penalty": self.given(0.1)}
            self.trainer = trainers.StandardTrainer(
                sparsity_warmup_steps=self.within(2000), **common
            )
        elif self.kind == "gated":
            common |= {"lr": self.rate * 5e-5, "l1_penalty": self.given(0.1)}
            self.trainer = trainers.GatedSAETrainer(
                sparsity_warmup_steps=self.within(2000), **common
            )
        else:
            common |= {"lr": self.rate * 7e-5, "sparsity_penalty": self.given(1.0)}
            self.trainer = trainers.JumpReluTrainer(
                sparsity_warmup_steps=self.within(2000), target_l0=float(self.k), **common
            )
        self.trainer.dead_feature_threshold = min(DEAD_TOKENS, self.planned * self.batch // 10)
        self.step = 0

    def run(self, batches: list[Tensor]) -> None:
        for x in batches:
            self.trainer.update(self.step, x)
            self.step += 1

    def decoder(self) -> np.ndarray:
        model = self.trainer.ae
        weight = model.W_dec if self.kind == "jumprelu" else model.decoder.weight.T
        return weight.detach().clone().numpy()

    @torch.no_grad()
    def rebuild(self, x: Tensor) -> tuple[Tensor, float]:
        recon, z = self.trainer.ae(x, output_features=True)
        return recon, float((z != 0).sum(1).float().mean())


class Overcomplete(Peer):
    """overcomplete: its ``train_sae``; ``monitoring`` 0 leaves its statistics out.

    It has neither a default rate nor a criterion: both are those of its documentation. Its L1
    criterion sums over the batch where the error is a mean; the coefficient here is per row.
    """

    def build(self, monitoring: int = 1) -> None:
        from functools import partial

        from overcomplete import sae as library

        self.monitoring = monitoring
        self.criterion: Callable[..., Tensor] = lambda x, x_hat, *_: (x - x_hat).square().mean()
        if self.kind == "topk":
            self.sae = library.TopKSAE(self.d, self.width, top_k=self.k)
        elif self.kind == "batchtopk":
            self.sae = library.BatchTopKSAE(self.d, self.width, top_k=self.k * self.batch)
        elif self.kind == "relu-l1":
            self.sae = library.SAE(self.d, self.width)
            penalty = self.given(0.1) / (self.batch * self.d)
            self.criterion = partial(library.mse_l1, penalty=penalty)
        else:
            self.sae = library.JumpSAE(self.d, self.width)
            self.criterion = self._raise_thresholds
        self.optimizer = torch.optim.Adam(self.sae.parameters(), lr=self.rate * 5e-4)

    def _raise_thresholds(self, x: Tensor, x_hat: Tensor, pre: Tensor, z: Tensor, _: Any) -> Tensor:
        loss = (x - x_hat).square().mean()
        if (z > 0).float().mean().detach() > self.k / self.width:
            loss = loss - self.sae.thresholds.sum()
        return loss

    def run(self, batches: list[Tensor]) -> None:
        from overcomplete.sae import train_sae

        train_sae(
            self.sae, batches, self.criterion, self.optimizer, nb_epochs=1,
            monitoring=self.monitoring,
        )  # fmt: skip

    def decoder(self) -> np.ndarray:
        return self.sae.get_dictionary().detach().clone().numpy()

    @torch.no_grad()
    def rebuild(self, x: Tensor) -> tuple[Tensor, float]:
        self.sae.eval()
        _, z, recon = self.sae(x)
        self.sae.train()
        return recon, float((z != 0).sum(1).float().mean())


PEERS: dict[str, type[Peer]] = {
    "sparsify": Sparsify,
    "sae_lens": SAELens,
    "dictionary_learning": DictionaryLearning,
    "overcomplete": Overcomplete,
}

_MODULES = {"dictionary_learning": "dictionary_learning.trainers"}


def load(peer: str) -> None:
    """Import the library, so that what its modules weigh is in memory before a run begins.

    overcomplete's vision models want torchvision, whose wheels on the package index are built for
    CUDA and do not load beside a CPU torch: they get an empty module, as nothing here calls them.
    """
    if peer == "overcomplete" and importlib.util.find_spec("torchvision") is None:
        empty = types.ModuleType("torchvision")
        empty.transforms = types.ModuleType("torchvision.transforms")  # type: ignore[attr-defined]
        sys.modules["torchvision"] = empty
    importlib.import_module(_MODULES.get(peer, peer))
