"""Numbers out of the files of `torch.save`, old and new, without unpickling: what is told of them is read, not run."""

from collections.abc import Iterator, Mapping
from io import BytesIO
from pathlib import Path
from pickletools import genops
from typing import Any, BinaryIO
from zipfile import ZipFile, is_zipfile

import numpy as np
from numpy.typing import NDArray

TENSOR = "torch._utils _rebuild_tensor_v2"
TYPES = {"torch FloatStorage": "<f4", "torch LongStorage": "<i8"}

PREAMBLES = 3
"""In an old file, what stands before the tensors: a mark, a version, and facts of the machine."""

VALUES = {"BINUNICODE", "GLOBAL", "BININT", "BININT1", "BININT2", "LONG1", "NONE", "NEWFALSE", "NEWTRUE", "EMPTY_DICT"}
TUPLES = {"EMPTY_TUPLE": 0, "TUPLE1": 1, "TUPLE2": 2, "TUPLE3": 3}
FILLED = {"SETITEM": 2, "BUILD": 1}
"""What goes into a dictionary or an object, which are of no account here."""

SILENT = {"PROTO", "STOP", "BINPERSID"}
"""Of a storage, the tuple that names it stands for it."""

Described = Mapping[str, tuple[Any, ...]]
"""Name of a tensor -> its storage ("storage", type, key, ...), offset, sizes, strides, in numbers of the storage."""


def tensors(path: Path) -> dict[str, NDArray[Any]]:
    """The named tensors of a file that is known to be whole; names that occur twice count once.

    Raises `ValueError` where something is in it that dictionaries of tensors are not told by.
    """
    if is_zipfile(path):
        with ZipFile(path) as archive:
            (told,) = (name for name in archive.namelist() if name.endswith("/data.pkl"))
            described = _described(BytesIO(archive.read(told)))
            folder = told.removesuffix(".pkl")
            storages = {key: archive.read(f"{folder}/{key}") for key in _types(described)}
    else:
        with path.open("rb") as file:
            for _ in range(PREAMBLES):
                _described(file)
            described = _described(file)
            storages = dict(_old_storages(file, _types(described)))
    return {name: _tensor(told, storages) for name, told in described.items()}


def _described(stream: BinaryIO) -> Described:
    """Reads one pickle, of which no name is looked up and nothing is called."""
    found: dict[str, tuple[Any, ...]] = {}
    stack: list[Any] = []
    marks: list[int] = []
    memo: dict[Any, Any] = {}
    told = ((opcode.name, argument) for opcode, argument, _ in genops(stream) if opcode.name not in SILENT)
    for name, argument in told:
        match name:
            case "MARK":
                marks.append(len(stack))
            case "TUPLE":
                start = marks.pop()
                stack[start:] = [tuple(stack[start:])]
            case "BINPUT" | "LONG_BINPUT":
                memo[argument] = stack[-1]
            case "BINGET" | "LONG_BINGET":
                stack.append(memo[argument])
            case "REDUCE":
                function, arguments = stack[-2:]
                stack[-2:] = [None]
                if function == TENSOR:
                    found[stack[-2]] = arguments
            case "SETITEMS":
                del stack[marks.pop() :]
            case _ if name in VALUES:
                stack.append(argument)
            case _ if name in TUPLES:
                start = len(stack) - TUPLES[name]
                stack[start:] = [tuple(stack[start:])]
            case _ if name in FILLED:
                del stack[-FILLED[name] :]
            case _:
                raise ValueError(f"{name} tells of something else than tensors")
    return found


def _types(described: Described) -> dict[str, np.dtype[Any]]:
    """Key of a storage -> the type of its numbers."""
    return {storage[2]: np.dtype(TYPES[storage[1]]) for storage, *_ in described.values()}


def _old_storages(file: BinaryIO, types: Mapping[str, np.dtype[Any]]) -> Iterator[tuple[str, bytes]]:
    """The keys, then under each how many numbers it has, and those."""
    keys = [str(argument) for opcode, argument, _ in genops(file) if opcode.name == "BINUNICODE"]
    for key in keys:
        count = int.from_bytes(file.read(8), "little")
        yield key, file.read(count * types[key].itemsize)


def _tensor(told: tuple[Any, ...], storages: Mapping[str, bytes]) -> NDArray[Any]:
    (_, kind, key, *_), offset, sizes, strides, *_ = told
    numbers = np.frombuffer(storages[key], TYPES[kind])
    steps = [stride * numbers.itemsize for stride in strides]
    return np.ndarray(sizes, numbers.dtype, numbers.data, offset * numbers.itemsize, steps).copy()
