"""A scikit-learn pipeline with an autoencoder: searched in parallel, pickled, as named columns.

python examples/grid_search.py
"""

import pickle
import sys
from pathlib import Path

import joblib
import pandas as pd
from sklearn.datasets import load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from isthmus.estimators import AutoencoderTransformer


def main(folder: Path) -> None:
    """The same search in processes and in threads finds the same scores."""
    folder.mkdir(parents=True, exist_ok=True)
    X, y = load_wine(return_X_y=True, as_frame=True)
    pipeline = make_pipeline(
        StandardScaler(),
        AutoencoderTransformer("plain", steps=40, options={"hidden": (16,)}),
        LogisticRegression(max_iter=500),
    ).set_output(transform="pandas")
    grid = {"autoencodertransformer__latent_dim": [2, 4]}
    scores = {}
    for backend in ("threading", "loky"):
        with joblib.parallel_backend(backend, n_jobs=2):
            search = GridSearchCV(pipeline, grid, cv=3).fit(X, y)
        scores[backend] = search.cv_results_["mean_test_score"].tolist()
        print(f"{backend:9}", search.best_params_, [round(s, 4) for s in scores[backend]])
    assert scores["threading"] == scores["loky"]

    kept = folder / "search.pickle"
    kept.write_bytes(pickle.dumps(search.best_estimator_))
    loaded = pickle.loads(kept.read_bytes())
    codes = loaded[:-1].transform(X)
    assert isinstance(codes, pd.DataFrame)
    assert codes.equals(search.best_estimator_[:-1].transform(X))
    print(codes.head(3).round(3).to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else Path("search"))
