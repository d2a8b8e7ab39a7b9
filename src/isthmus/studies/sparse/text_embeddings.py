"""Dictionaries on dense text embeddings: meaning, families of topics, and steered retrieval."""

from dataclasses import dataclass

import numpy as np

import isthmus
from isthmus.anatomy import linear_decoder
from isthmus.data.made import topic_tree
from isthmus.data.made.topic_tree import FIELDS, SUBTOPICS, Corpus
from isthmus.evaluation import Result
from isthmus.interpretation.geometry import feature_families
from isthmus.language import documents
from isthmus.studies import Check, Figures, Trial, study
from isthmus.studies.sparse import text_retrieval
from isthmus.studies.sparse.text_retrieval import DIMENSIONS, Embedding

TEXTS, HELD = 8000, 2000
SIZES = {4: 2 * DIMENSIONS, 8: 4 * DIMENSIONS, 16: 6 * DIMENSIONS}
"""Latents for each k: the multiples of the embedding's dimensions that the paper has."""
STEPS = 1000
STEERED = 8
"""The k whose dictionary is looked into and steered."""
QUERIES = 500
TIMES, GENTLER = 8, (1, 2, 4)
"""The value that steering gives a latent, in multiples of its mean where it fires."""

POSTS = "newsgroups20_sample"
HELD_POSTS, POSTS_STEPS = 600, 500

Measured = dict[str, float | Result]


def _each(figures: Figures, arm: str, name: str) -> list[float]:
    return [figures[arm][f"{name}_k{k}"] for k in SIZES]


def _rise(figures: Figures, arm: str) -> float:
    """By how much an edit raises the share of the other subtopic among the ten nearest texts."""
    return figures[arm]["target"] - figures["unsteered"]["target"]


@study(
    "text-embeddings",
    family="sparse",
    catalogue=167,
    paper="O'Neill, Ye, Iyer, Wu 2024, Disentangling Dense Embeddings with Sparse Autoencoders",
    statement="Sparse codes of text embeddings keep their meaning, follow topics, fall into "
    "families of general and narrow ones, and steer retrieval when they are edited.",
    headline="420,000 abstracts (astro-ph, cs.LG), ada-002 embeddings of 1536 dimensions, "
    "(k, latents) = (16, 3072), (32, 6144), (64, 9216).",
    setting="8000 made texts of 80 to 160 words from a tree of 10 fields with 5 subtopics each (a "
    "fifth of them about a field as a whole), embedded by latent semantic analysis in 100 "
    "dimensions; TopK with AuxK of 2 k latents, dead after an epoch, (k, latents) = (4, 200), (8, "
    "400), (16, 600), 1000 steps of 512 rows; measured on 2000 other texts. Families and steering "
    "at k = 8. A subtopic's latent is the one whose firing predicts it best (F1) on the training "
    "texts. Steering exchanges the latent of a query's subtopic for that of another of its field, "
    "at eight times the mean value it has where it fires (the sum of a code's values is six times "
    "that value; gentler edits are measured too). The same dictionaries on 2400 posts of 20 "
    "newsgroups, 500 steps, measured on 600 others.",
    arms={
        "dictionaries": "TopK on the made texts, by k",
        "untrained": "control: the same before training",
        "families": "the tree that families of latents give, against the true one",
        "shuffled families": "control: families where each latent fires in other rows, as often",
        "splits": "latents of the widest dictionary and the nearest of the narrowest, by cosine",
        "unsteered": "retrieval with the query as it is, rebuilt",
        "steered": "retrieval with the query's code edited",
        "random latents": "control: the same values given to latents drawn at random",
        "rewritten": "the query's text rewritten instead: its subtopic's words exchanged",
        "newsgroups": "TopK on embeddings of real posts, by k",
    },
    recipes=("topk",),
    needs=(POSTS,),
    checks=(
        Check(
            "overlap of the ten nearest texts of reconstructions and of embeddings, at k = 16",
            lambda f: f["dictionaries"]["overlap_k16"],
            at_least=0.8,
            control=lambda f: f["untrained"]["overlap_k16"],
        ),
        Check(
            "F1 of each subtopic's best latent, mean over subtopics, lowest of all k",
            lambda f: min(_each(f, "dictionaries", "f1_subtopics")),
            at_least=0.9,
            control=lambda f: max(_each(f, "untrained", "f1_subtopics")),
        ),
        Check(
            "subtopics whose latent has a parent that follows the subtopic's field",
            lambda f: f["families"]["parent_match"],
            at_least=0.6,
            control=lambda f: f["shuffled families"]["parent_match"],
        ),
        Check(
            "rise of the other subtopic's share among the ten nearest texts by steering",
            lambda f: _rise(f, "steered"),
            at_least=0.3,
            control=lambda f: _rise(f, "random latents"),
        ),
        Check(
            "share of the query's field among the ten nearest texts after steering, relative to "
            "before",
            lambda f: f["steered"]["field"] / f["unsteered"]["field"],
            at_least=0.9,
            control=lambda f: f["random latents"]["field"] / f["unsteered"]["field"],
        ),
        Check(
            "latents of the widest dictionary that follow the same field as the nearest of the "
            "narrowest",
            lambda f: f["splits"]["same_field"],
            at_least=0.4,
            control=lambda f: f["splits"]["same_field_of_any"],
            required=False,
        ),
        Check(
            "the other subtopic's share after steering less that after rewriting the query",
            lambda f: f["steered"]["target"] - f["rewritten"]["target"],
            at_least=0.0,
            required=False,
        ),
        Check(
            "newsgroups: overlap of the ten nearest posts at k = 16",
            lambda f: f["newsgroups"]["overlap_k16"],
            at_least=0.8,
            required=False,
        ),
    ),
)
def text_embeddings(trial: Trial) -> dict[str, Measured]:
    """Dictionaries of a made corpus and of real posts."""
    corpus, other = (
        topic_tree.topic_corpus(max(trial.steps(texts), 1024), [trial.seed, part])
        for part, texts in enumerate((TEXTS, HELD))
    )
    embed = Embedding(corpus.texts, trial.seed)
    train, held = Labelled.of(corpus, embed), Labelled.of(other, embed)
    models = _fitted(train.x, trial.steps(STEPS), trial.seed)
    figures = {
        "dictionaries": _measured(models, train, held),
        "untrained": _measured(_fitted(train.x, 1, trial.seed), train, held),
    }
    model = models[STEERED]
    fired = np.asarray(model.encode(train.x)) > 0
    drawn = np.random.default_rng(trial.seed).permuted(fired, axis=0)
    figures["families"] = _tree(fired, train)
    figures["shuffled families"] = _tree(drawn, train, fired)
    figures["splits"] = _splits(models, train, trial.seed)
    figures |= _retrieval(model, train, held, other.texts, embed, trial.seed)
    return figures | {"newsgroups": _newsgroups(trial)}


@dataclass(frozen=True)
class Labelled:
    """Embeddings ``(texts, dimensions)`` and bool topics ``(texts, subtopics or fields)``."""

    x: np.ndarray
    subtopics: np.ndarray
    fields: np.ndarray

    @classmethod
    def of(cls, corpus: Corpus, embed: Embedding) -> "Labelled":
        return cls(
            embed(corpus.texts),
            corpus.subtopic[:, None] == np.arange(FIELDS * SUBTOPICS),
            corpus.field[:, None] == np.arange(FIELDS),
        )


def _fitted(x: np.ndarray, steps: int, seed: int) -> dict[int, isthmus.Autoencoder]:
    models = isthmus.fit_many(
        {
            str(k): {"k": k, "latent_dim": width, "k_aux": 2 * k} for k, width in SIZES.items()
        },
        x, recipe="topk", dead_after=len(x), steps=steps, batch_size=512, lr=4e-3,
        lr_schedule="linear", warmup=20, average=None, seed=seed, progress=False,
    )  # fmt: skip
    return {int(k): model for k, model in models.items()}


def _measured(models: dict[int, isthmus.Autoencoder], train: Labelled, held: Labelled) -> Measured:
    """What each dictionary keeps, and how well its latents follow topics.

    The latent of a topic is chosen on the training rows and judged on the others.
    """
    figures: Measured = {}
    for k, model in models.items():
        about = isthmus.evaluate(model, held.x)
        recon = np.asarray(model.reconstruct(held.x))
        figures |= {f"{name}_k{k}": about[name] for name in ("fvu", "dead_share")}
        figures[f"overlap_k{k}"] = text_retrieval.neighbour_overlap(held.x, recon)
        seen, new = (np.asarray(model.encode(rows.x)) > 0 for rows in (train, held))
        for name in ("subtopics", "fields"):
            on = getattr(train, name), getattr(held, name)
            best = text_retrieval.f1_matrix(seen, on[0]).argmax(0)
            f1 = text_retrieval.f1_matrix(new[:, best], on[1]).diagonal()
            figures[f"f1_{name}_k{k}"] = float(f1.mean())
    return figures


def _tree(fired: np.ndarray, rows: Labelled, named: np.ndarray | None = None) -> Measured:
    """How often the parent of a subtopic's latent follows the subtopic's field.

    Latents are named by ``named``, the firing itself by default. Of several families that a
    latent is a child of, the smallest counts; a latent in none counts as a miss.
    """
    named = fired if named is None else named
    topics = text_retrieval.f1_matrix(named, rows.subtopics).argmax(0)
    fields = text_retrieval.f1_matrix(named, rows.fields).argmax(1)
    families = feature_families(fired)
    right, placed = 0, 0
    for subtopic, latent in enumerate(topics.tolist()):
        over = [family for family in families if latent in family.children]
        if over:
            parent = min(over, key=lambda family: len(family.children)).parent
            placed += 1
            right += int(fields[parent] == subtopic // SUBTOPICS)
    sizes = [len(family.children) for family in families]
    return {
        "parent_match": right / len(topics),
        "has_a_parent": placed / len(topics),
        "families": len(families),
        "largest": max(sizes, default=0),
    }


def _splits(models: dict[int, isthmus.Autoencoder], rows: Labelled, seed: int) -> Measured:
    """Where the latents of the widest dictionary come from, if from any of the narrowest's."""
    narrow, wide = (models[k] for k in (min(SIZES), max(SIZES)))
    fired = [np.asarray(model.encode(rows.x)) > 0 for model in (narrow, wide)]
    fields = [text_retrieval.f1_matrix(on, rows.fields).argmax(1) for on in fired]
    alive = [np.flatnonzero(on.any(0)) for on in fired]
    atoms = [
        text_retrieval.unit(linear_decoder(model).atoms().detach().numpy()[own])
        for model, own in zip((narrow, wide), alive, strict=True)
    ]
    cosines = atoms[1] @ atoms[0].T
    nearest = alive[0][cosines.argmax(1)]
    own = fields[1][alive[1]]
    drawn = np.random.default_rng([seed, 4]).permutation(nearest)
    return {
        "cosine": float(cosines.max(1).mean()),
        "split": float((np.bincount(nearest, minlength=SIZES[min(SIZES)]) > 1).sum()),
        "same_field": float((fields[0][nearest] == own).mean()),
        "same_field_of_any": float((fields[0][drawn] == own).mean()),
    }


def _retrieval(
    model: isthmus.Autoencoder,
    train: Labelled,
    held: Labelled,
    texts: list[str],
    embed: Embedding,
    seed: int,
) -> dict[str, Measured]:
    """The ten nearest training texts of held-out queries, each sent to a sister subtopic."""
    rng = np.random.default_rng([seed, 3])
    queries = np.flatnonzero(held.subtopics.any(1))[:QUERIES]
    now = held.subtopics[queries].argmax(1)
    field = now // SUBTOPICS
    then = field * SUBTOPICS + (now + rng.integers(1, SUBTOPICS, len(now))) % SUBTOPICS

    codes = np.asarray(model.encode(train.x))
    best = text_retrieval.f1_matrix(codes > 0, train.subtopics).argmax(0)
    strength = codes.sum(0) / np.maximum((codes > 0).sum(0), 1)
    z = np.asarray(model.encode(held.x[queries]))
    row = np.arange(len(queries))
    stray = rng.integers(0, z.shape[1], (2, len(queries)))
    again = [topic_tree.rewritten(texts[i], to) for i, to in zip(queries, then, strict=True)]

    def edited(off: np.ndarray, on: np.ndarray, times: float) -> np.ndarray:
        new = z.copy()
        new[row, off] = 0.0
        new[row, on] = times * strength[best[then]]
        return np.asarray(model.decode(new))

    def found(rows: np.ndarray) -> Measured:
        near = text_retrieval.nearest(rows, train.x)
        return {
            "target": float(train.subtopics[near, then[:, None]].mean()),
            "own": float(train.subtopics[near, now[:, None]].mean()),
            "field": float(train.fields[near, field[:, None]].mean()),
        }

    steered = found(edited(best[now], best[then], TIMES))
    for times in GENTLER:
        gentle = found(edited(best[now], best[then], times))
        steered |= {f"{name}_x{times}": value for name, value in gentle.items()}
    return {
        "unsteered": found(np.asarray(model.decode(z))),
        "steered": steered,
        "random latents": found(edited(stray[0], stray[1], TIMES)),
        "rewritten": found(embed(again)),
    }


def _newsgroups(trial: Trial) -> Measured:
    """The same dictionaries on real posts: groups for subtopics, their first word for fields."""
    groups = {post.name: post.text for post in documents(f"{POSTS}:label")}
    posts = documents(POSTS)
    order = np.random.default_rng(trial.seed).permutation(len(posts))
    texts = [posts[i].text for i in order]
    label = np.array([groups[posts[i].name] for i in order])
    cut = len(texts) - HELD_POSTS
    embed = Embedding(texts[:cut], trial.seed, stop_words="english", max_df=0.5)
    field = np.array([name.partition(".")[0] for name in label])
    subtopics = label[:, None] == np.unique(label)
    fields = field[:, None] == np.unique(field)
    train, held = (
        Labelled(embed(texts[part]), subtopics[part], fields[part])
        for part in (slice(cut), slice(cut, None))
    )
    return _measured(_fitted(train.x, trial.steps(POSTS_STEPS), trial.seed), train, held)
