"""topk with groups: one latent of each, and files of sparsify."""

import numpy as np
import pytest

import isthmus
from isthmus.errors import IsthmusError
from isthmus.formats import write
from isthmus.recipes.sparse.jumprelu import to_jumprelu

X = np.random.default_rng(0).normal(1.0, 1.0, (300, 10)).astype(np.float32)


def fitted(**options):
    options = {"latent_dim": 40, "k": 5, "steps": 60, "batch_size": 100, "k_aux": 8, **options}
    return isthmus.fit("topk", X, grouped=True, lr=3e-3, progress=False, **options)


def test_each_row_has_at_most_one_latent_of_each_group():
    model = fitted()
    on = (model.encode(X) != 0).reshape(len(X), 5, 8)
    assert on.any()
    assert (on.sum(2) <= 1).all()


def test_training_lowers_the_error():
    first, last = (fitted(steps=n) for n in (1, 200))
    error = [np.square(m.reconstruct(X) - X).mean() for m in (first, last)]
    assert error[1] < 0.7 * error[0]


def test_written_for_sparsify_and_read_again(tmp_path):
    model = fitted()
    write(model, tmp_path / "sae", format="sparsify")
    again = isthmus.from_pretrained(tmp_path / "sae")
    assert again.config["recipe"] == "topk"
    assert again.config["options"]["grouped"]
    np.testing.assert_allclose(again.encode(X), model.encode(X), atol=1e-4)
    with pytest.raises(IsthmusError, match="SAELens has no dictionary of the rule groupmax"):
        write(model, tmp_path / "saelens", format="saelens")


def test_it_becomes_no_jumprelu():
    with pytest.raises(IsthmusError, match="only a TopK dictionary"):
        to_jumprelu(fitted(), X)


def test_groups_of_two_sizes_are_fitted_and_not_written(tmp_path):
    model = fitted(latent_dim=42)
    group = np.arange(42) * 5 // 42
    on = model.encode(X) != 0
    assert all((on[:, group == g].sum(1) <= 1).all() for g in range(5))
    with pytest.raises(IsthmusError, match="42 latents cannot be cut into 5"):
        write(model, tmp_path / "sae", format="sparsify")


@pytest.mark.parametrize("options", [{"multi_weight": 0.1}, {"k_start": 10}])
def test_a_group_has_one_latent(options):
    with pytest.raises(IsthmusError, match="with grouped=true each group has one latent"):
        fitted(**options)
