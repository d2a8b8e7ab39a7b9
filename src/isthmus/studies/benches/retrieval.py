"""Retrieval of real utterances by embedding: what codes keep, what latents follow, and steering."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer

from isthmus.interpretation.geometry import feature_families
from isthmus.language import documents
from isthmus.studies.arms import Bench, Coded, Control, Ground, Subject
from isthmus.studies.trial import Trial

DIMENSIONS = 256
HELD = 4500
NEIGHBOURS = 10
QUERIES = 500
CHANGED = 3
"""Words that a query is rewritten by."""
OUTSIDE = "oos"
"""Utterances of no intent, which are left out."""

NEEDS = ("clinc150",)
SETTING = (
    f"CLINC150: 22,500 utterances of 150 intents in 10 domains, {HELD:,} of them held out, drawn "
    f"by the seed; embedded by latent semantic analysis in {DIMENSIONS} dimensions, of norm 1. An "
    "intent's latent is the one whose firing predicts it best (F1) on the training utterances. "
    f"Steering turns the latent of a query's intent off and that of another intent of its domain "
    "on, at the length of the rebuilt query; the ten nearest training utterances are looked at."
)


class Embedding:
    """Latent semantic analysis: tf-idf, cut to its leading singular vectors, rows of norm 1."""

    def __init__(self, texts: Sequence[str], seed: int, dimensions: int = DIMENSIONS) -> None:
        self._words = TfidfVectorizer(sublinear_tf=True, min_df=2)
        self.counted = self._words.fit_transform(texts)
        self._cut = TruncatedSVD(dimensions, random_state=seed).fit(self.counted)

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embeddings ``(texts, dimensions)``, float32."""
        return unit(self._cut.transform(self._words.transform(texts))).astype(np.float32)

    @property
    def words(self) -> np.ndarray:
        """The vocabulary, in the order of ``counted``'s columns."""
        vocabulary: np.ndarray = self._words.get_feature_names_out()
        return vocabulary


@dataclass(frozen=True)
class Utterances:
    """Texts with their intents and domains, numbered; ``domain_of`` is each intent's."""

    texts: list[str]
    intent: np.ndarray
    domain_of: np.ndarray

    def at(self, index: np.ndarray) -> "Utterances":
        """Those of the given numbers."""
        return Utterances([self.texts[i] for i in index], self.intent[index], self.domain_of)

    @property
    def intents(self) -> np.ndarray:
        """Bool ``(texts, intents)``."""
        membership: np.ndarray = self.intent[:, None] == np.arange(len(self.domain_of))
        return membership

    @property
    def domains(self) -> np.ndarray:
        """Bool ``(texts, domains)``."""
        domain = self.domain_of[self.intent]
        membership: np.ndarray = domain[:, None] == np.arange(self.domain_of.max() + 1)
        return membership


@cache
def utterances() -> Utterances:
    """All of CLINC150 that has an intent."""
    intents = [one.text for one in documents("clinc150:intent")]
    domains = [one.text for one in documents("clinc150:domain")]
    texts = [one.text for one in documents("clinc150")]
    kept = [i for i, intent in enumerate(intents) if intent != OUTSIDE]
    names, intent = np.unique([intents[i] for i in kept], return_inverse=True)
    over = dict(zip(intents, domains, strict=True))
    domain_of = np.unique([over[name] for name in names], return_inverse=True)[1]
    return Utterances([texts[i] for i in kept], intent, domain_of)


def _open(trial: Trial) -> Ground:
    everything = utterances()
    order = np.random.default_rng(trial.seed).permutation(len(everything.texts))
    seen = everything.at(order[HELD:][: trial.rows(len(order) - HELD)])
    held = everything.at(order[: trial.rows(HELD)])
    embed = Embedding(seen.texts, trial.seed)
    known = {"seen": seen, "held": held, "embed": embed}
    return Ground(embed(seen.texts), embed(held.texts), trial.seed, known)


def unit(rows: np.ndarray) -> np.ndarray:
    """Rows of norm 1."""
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-12)


def nearest(queries: np.ndarray, rows: np.ndarray, own: np.ndarray | None = None) -> np.ndarray:
    """The ten ``rows`` of the largest cosine with each query, ``(queries, 10)``, in no order.

    ``own`` is the row that each query itself is, which does not count.
    """
    cosines = unit(queries) @ unit(rows).T
    if own is not None:
        cosines[np.arange(len(queries)), own] = -2.0
    return np.argpartition(-cosines, NEIGHBOURS, axis=1)[:, :NEIGHBOURS]


def neighbour_overlap(x: np.ndarray, recon: np.ndarray) -> float:
    """Mean share of a row's ten nearest rows that are also the nearest of its reconstruction.

    Each is looked for among its own kind.
    """
    indices = np.arange(len(x))
    first, second = nearest(x, x, indices), nearest(recon, recon, indices)
    same = (first[:, :, None] == second[:, None, :]).any(2)
    return float(same.mean())


def f1_matrix(fired: np.ndarray, on: np.ndarray) -> np.ndarray:
    """F1 of each latent's firing as a prediction of each label, ``(latents, labels)``.

    ``fired`` is bool ``(rows, latents)`` and ``on`` bool ``(rows, labels)``.
    """
    both = fired.T.astype(np.float32) @ on.astype(np.float32)
    total = fired.sum(0)[:, None] + on.sum(0)
    return 2 * both / np.maximum(total, 1)


def _fired(subject: Subject, rows: np.ndarray) -> np.ndarray:
    return np.asarray(subject.encode(rows)) > 0


def _kept(subject: Subject, ground: Ground) -> dict[str, float]:
    """The error, and whether neighbours of reconstructions are those of the embeddings."""
    recon = np.asarray(subject.reconstruct(ground.held))
    error = ((ground.held - recon) ** 2).sum() / ((ground.held - ground.held.mean(0)) ** 2).sum()
    return {"fvu": float(error), "overlap": neighbour_overlap(ground.held, recon)}


def _follows(subject: Subject, ground: Ground) -> dict[str, float]:
    """F1 of the latent of each intent and domain, chosen on other rows, mean over them."""
    seen, held = ground.known["seen"], ground.known["held"]
    before, after = _fired(subject, ground.rows), _fired(subject, ground.held)
    scores = {}
    for name, old, new in (
        ("f1_intents", seen.intents, held.intents), ("f1_domains", seen.domains, held.domains)
    ):  # fmt: skip
        best = f1_matrix(before, old).argmax(0)
        scores[name] = float(f1_matrix(after[:, best], new).diagonal().mean())
    return scores


def _families(subject: Subject, ground: Ground) -> dict[str, float]:
    """How often the parent of an intent's latent follows the intent's domain, and by chance."""
    fired, seen = _fired(subject, ground.rows), ground.known["seen"]
    drawn = np.random.default_rng(ground.seed).permuted(fired, axis=0)
    return {
        "parent_match": parent_match(fired, fired, seen),
        "parent_match_by_chance": parent_match(drawn, fired, seen),
    }


def parent_match(fired: np.ndarray, named: np.ndarray, rows: Utterances) -> float:
    """Share of intents whose latent has a parent that follows the intent's domain.

    Families are those of ``fired``; what latents follow is told from ``named``. Of several families
    that a latent is a child of, the smallest counts; a latent in none counts as a miss.
    """
    topics = f1_matrix(named, rows.intents).argmax(0)
    domains = f1_matrix(named, rows.domains).argmax(1)
    families, right = feature_families(fired), 0
    for intent, latent in enumerate(topics.tolist()):
        over = [family for family in families if latent in family.children]
        if over:
            parent = min(over, key=lambda family: len(family.children)).parent
            right += int(domains[parent] == rows.domain_of[intent])
    return right / len(topics)


def _queries(ground: Ground) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Numbers of held-out queries, their intents, and another intent of the same domain each."""
    held = ground.known["held"]
    rng = np.random.default_rng([ground.seed, 3])
    rows = np.arange(len(held.texts))[:QUERIES]
    now = held.intent[rows]
    then = np.array([
        rng.choice([i for i in np.flatnonzero(held.domain_of == held.domain_of[one]) if i != one])
        for one in now
    ])  # fmt: skip
    return rows, now, then


def _found(ground: Ground, rows: np.ndarray, now: np.ndarray, then: np.ndarray) -> dict[str, float]:
    """Shares of the ten nearest utterances that have the new intent, the old, and the domain."""
    seen = ground.known["seen"]
    near = seen.intent[nearest(rows, ground.rows)]
    domain = seen.domain_of[near] == seen.domain_of[now][:, None]
    return {
        "target": float((near == then[:, None]).mean()),
        "own": float((near == now[:, None]).mean()),
        "domain": float(domain.mean()),
    }


def _unsteered(subject: Subject, ground: Ground) -> dict[str, float]:
    rows, now, then = _queries(ground)
    return _found(ground, np.asarray(subject.reconstruct(ground.held[rows])), now, then)


def _steered(subject: Subject, ground: Ground) -> dict[str, float]:
    seen = ground.known["seen"]
    rows, now, then = _queries(ground)
    best = f1_matrix(_fired(subject, ground.rows), seen.intents).argmax(0)
    z = np.array(subject.encode(ground.held[rows]), np.float32)
    length = np.linalg.norm(np.asarray(subject.decode(z)), axis=1)
    one = np.zeros((len(best), z.shape[1]), np.float32)
    one[np.arange(len(best)), best] = 1.0
    atoms = np.asarray(subject.decode(one)) - np.asarray(subject.decode(0 * one))
    place, sizes = np.arange(len(rows)), np.linalg.norm(atoms, axis=1)
    z[place, best[now]] = 0.0
    z[place, best[then]] = length / np.maximum(sizes[then], 1e-12)
    return _found(ground, np.asarray(subject.decode(z)), now, then)


def _rewritten(_: Subject, ground: Ground) -> dict[str, float]:
    """The query's text instead: its intent's words go, the other intent's come."""
    embed, seen, held = ground.known["embed"], ground.known["seen"], ground.known["held"]
    rows, now, then = _queries(ground)
    words = telling_words(embed, seen)
    texts = [
        " ".join([w for w in held.texts[i].split() if w not in words[old]] + words[new])
        for i, old, new in zip(rows, now, then, strict=True)
    ]
    return _found(ground, embed(texts), now, then)


def telling_words(embed: Embedding, seen: Utterances) -> list[list[str]]:
    """For each intent the three words whose mean tf-idf exceeds that elsewhere the most."""
    counted = embed.counted
    mean = np.asarray(counted.mean(0)).ravel()
    words = []
    for on in seen.intents.T:
        intent_mean = np.asarray(counted[np.flatnonzero(on)].mean(0)).ravel() if on.any() else mean
        words.append([str(embed.words[i]) for i in np.argsort(mean - intent_mean)[:CHANGED]])
    return words


def coordinates(k: int) -> Control:
    """The embedding's own axes in the place of latents, both ways: a row's ``k`` furthest."""

    def make(_: Mapping[str, Subject], ground: Ground, trial: Trial) -> Subject:
        mean = ground.rows.mean(0)

        def encode(rows: np.ndarray) -> np.ndarray:
            both = np.concatenate([rows - mean, mean - rows], 1)
            least = np.partition(both, -k, axis=1)[:, -k, None]
            return np.where(both >= least, np.maximum(both, 0.0), 0.0)

        def decode(z: np.ndarray) -> np.ndarray:
            rebuilt: np.ndarray = mean + z[:, : len(mean)] - z[:, len(mean) :]
            return rebuilt

        return Coded(encode, decode)

    return Control(f"the embedding's own dimensions as latents, {k} of a text", make)


def intent_means() -> Control:
    """A supervised dictionary: the nearest intent's mean direction, and the rest as it is."""

    def make(_: Mapping[str, Subject], ground: Ground, trial: Trial) -> Subject:
        on = ground.known["seen"].intents
        means = unit(on.T.astype(np.float32) @ ground.rows)

        def encode(rows: np.ndarray) -> np.ndarray:
            cosines = rows @ means.T
            nearest = cosines.argmax(1)[:, None] == np.arange(len(means))
            codes = np.where(nearest, np.maximum(cosines, 0.0), 0.0)
            return np.concatenate([codes, rows - codes @ means], 1)

        return Coded(encode, lambda z: z[:, : len(means)] @ means + z[:, len(means) :])

    return Control("positive control: each intent's mean, known from labels, for its latent", make)


def retrieval() -> Bench:
    """The bench: one draw of held-out utterances and one embedding for each seed."""
    return Bench("retrieval", SETTING, _open, MEASURES, NEEDS)


MEASURES = {
    "kept": _kept, "follows": _follows, "families": _families, "unsteered": _unsteered,
    "steered": _steered, "rewritten": _rewritten,
}  # fmt: skip
