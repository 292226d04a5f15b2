"""Ratings predicted by Surprise's SVD, for ratings.py: run by a Python that has Surprise and not this project.

python ratings_surprise.py FOLD.npz SEED
"""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from surprise import SVD, Dataset, Reader

file = Path(sys.argv[1])
fold = np.load(file)
events = pd.DataFrame(fold["train"], columns=["user", "item", "rating"])
scale = tuple(fold["scale"].tolist())
train = Dataset.load_from_df(events, Reader(rating_scale=scale)).build_full_trainset()
model = SVD(random_state=int(sys.argv[2]))
model.fit(train)
predicted = [model.predict(float(user), float(item)).est for user, item in fold["asked"]]
np.save(file.with_suffix(".npy"), np.array(predicted))
