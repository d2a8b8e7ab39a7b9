"""The VAE of :mod:`benchmarks.overhead` under pythae's own trainer."""

import contextlib
import io
import logging
import tempfile
import time

import torch
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn


class Encoder(BaseEncoder):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Flatten(), nn.Linear(784, 512), nn.ReLU())
        self.mean, self.logvar = nn.Linear(512, 16), nn.Linear(512, 16)

    def forward(self, x: torch.Tensor) -> ModelOutput:
        h = self.body(x)
        return ModelOutput(embedding=self.mean(h), log_covariance=self.logvar(h))


class Decoder(BaseDecoder):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(16, 512), nn.ReLU(), nn.Linear(512, 784), nn.Sigmoid())

    def forward(self, z: torch.Tensor) -> ModelOutput:
        return ModelOutput(reconstruction=self.body(z).reshape(-1, 1, 28, 28))


def run_pythae(x: torch.Tensor, batch: int, steps: int) -> float:
    """Seconds that one epoch of ``steps`` steps takes, set-up and saving excluded."""
    logging.disable(logging.CRITICAL)
    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=16, reconstruction_loss="bce")
    model = VAE(config, encoder=Encoder(), decoder=Decoder())
    rows = x[torch.arange(steps * batch) % len(x)]
    data = BaseDataset(rows, torch.ones(len(rows)))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stderr(io.StringIO()):
        trainer = BaseTrainer(
            model,
            train_dataset=data,
            training_config=BaseTrainerConfig(
                output_dir=folder,
                num_epochs=1,
                per_device_train_batch_size=batch,
                learning_rate=1e-3,
                no_cuda=True,
            ),
        )
        trainer.prepare_training()
        start = time.perf_counter()
        trainer.train_step(epoch=1)
        return time.perf_counter() - start
