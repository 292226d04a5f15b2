"""What answers where no trained system can: what everybody likes."""

from datetime import UTC, datetime

import numpy as np

import zhiyin
from zhiyin.app.prepare import prepare_stored
from zhiyin.app.registry import make_model
from zhiyin.app.selection import Selection
from zhiyin.app.system import System
from zhiyin.artifacts.folder import FORMAT_VERSION
from zhiyin.core.errors import InputError
from zhiyin.core.results import Manifest
from zhiyin.core.stores import Stores
from zhiyin.core.vocabulary import Vocabulary
from zhiyin.dataset.settings import PreparationSettings

STANDBY = "standby"
"""The version that such a system says it is."""


def standby_system(stores: Stores) -> System:
    """Of all that the stores hold now: items by how popular they are, for everybody alike."""
    settings = PreparationSettings(encoders=())
    model = make_model("popularity", {})
    try:
        data = prepare_stored(stores, settings)
    except InputError:
        # Nobody did anything yet.
        catalog, scale = stores.catalog.read(), None
        model.load_parameters({"popularity": np.zeros(len(catalog))})
    else:
        catalog, scale = data.catalog, data.rating_scale
        model.fit(data, Selection().run())
    manifest = Manifest(
        format_version=FORMAT_VERSION,
        manifest_id=STANDBY,
        created=datetime.now(UTC).isoformat(),
        code_version=zhiyin.__version__,
        components={},
        settings=settings.model_dump(mode="json"),
        data={},
        split={},
        metrics={},
        files={},
    )
    return System(manifest, model, model, Vocabulary(catalog.item_id), catalog, settings, scale)
