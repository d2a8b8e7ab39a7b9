"""What the tests of documentation share."""

import pytest


@pytest.fixture
def own_recipes(monkeypatch):
    """What a block registers is forgotten again."""
    from isthmus.recipes import registry

    registry.list_recipes()
    monkeypatch.setattr(registry, "_RECIPES", dict(registry._RECIPES))


@pytest.fixture
def own_claims(monkeypatch):
    """What a block declares is forgotten again."""
    from isthmus.studies import claims, contract

    claims()
    monkeypatch.setattr(contract, "_CLAIMS", dict(contract._CLAIMS))
