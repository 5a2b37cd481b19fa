"""Saving and loading: versioned safetensors files, written atomically, read without running code.

A file holds named arrays and one JSON document. :func:`save_tensors` and :func:`load_tensors`
handle those; :func:`save_model` and :func:`load` put a model on top, through a registry of
classes: a file names its class, and only a class that the program registered itself
(:func:`register_model`) is ever built. A registered class offers::

    def _get_state(self) -> tuple[dict[str, ndarray], dict]: ...
    @classmethod
    def _from_state(cls, tensors, meta) -> "Model": ...
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar, overload

import numpy as np
import safetensors
import safetensors.numpy

__all__ = [
    "FORMAT",
    "FORMAT_VERSION",
    "atomic_write",
    "load",
    "load_state",
    "load_tensors",
    "register_model",
    "save_model",
    "save_tensors",
]

#: Name that marks a file as ours, under ``format`` in its metadata.
FORMAT = "unsupfast"
#: Version of the layout, under ``format_version``. A reader refuses a higher one.
FORMAT_VERSION = 1

PathLike = str | os.PathLike[str]
_T = TypeVar("_T", bound=type)
_models: dict[str, type] = {}


# --------------------------------------------------------------------------------------- tensors


def save_tensors(
    path: PathLike, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any] | None = None
) -> None:
    """Write named arrays and a JSON document into one safetensors file, atomically.

    Parameters
    ----------
    path : path
        Where to write; an existing file is replaced. After a crash at any moment, the old file or
        the new one is there, whole.
    tensors : mapping of str to array
        Booleans, integers or floats (float16, float32, float64) of any shape and memory layout.
    metadata : mapping, default=None
        What JSON can say (NumPy scalars and arrays are turned into numbers and lists; tuples come
        back as lists; NaN and infinities are kept).

    Raises
    ------
    TypeError
        If a name is no string, or an array or a value of the metadata is of a type that cannot be
        stored; the message names it.
    OSError
        If the file cannot be written.

    Notes
    -----
    Layout: https://github.com/huggingface/safetensors, with ``format``, ``format_version`` and
    ``metadata`` (the document, as one string) in ``__metadata__``.
    """
    arrays: dict[str, np.ndarray] = {}
    for name, value in tensors.items():
        if not isinstance(name, str):
            raise TypeError(f"tensors: got the name {name!r}, expected a str")
        array = np.asarray(value)
        if array.dtype.kind not in "biuf" or array.dtype.itemsize > 8:
            raise TypeError(
                f"tensors[{name!r}]: got {array.dtype}, expected booleans, integers or floats of "
                "at most 64 bits"
            )
        # Native, C-ordered: the one layout that every reader of the format understands.
        arrays[name] = np.asarray(array, dtype=array.dtype.newbyteorder("="), order="C")
    document = json.dumps(_plain({} if metadata is None else dict(metadata), "metadata"))
    blob = safetensors.numpy.save(
        arrays,
        {"format": FORMAT, "format_version": str(FORMAT_VERSION), "metadata": document},
    )
    # The library orders the metadata by a random hash; sorted, equal content gives equal files.
    length = int.from_bytes(blob[:8], "little")
    header = json.loads(blob[8 : 8 + length])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % 8)  # the data begin aligned
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(memoryview(blob)[8 + length :])


def load_tensors(path: PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Read what :func:`save_tensors` wrote. Never executes code from the file.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    tensors : dict of str to ndarray
        The arrays, in memory of their own.
    metadata : dict
        The JSON document.

    Raises
    ------
    ValueError
        If the file is truncated, damaged, not one of ours, or written by a newer version; the
        message names the path and the reason.
    OSError
        If the file cannot be opened.
    """
    path = Path(path)
    with open(path, "rb") as probe:  # a plain OSError where there is no file, or no permission
        if not probe.read(1):
            raise ValueError(f"{path}: is empty")
    try:
        with safetensors.safe_open(str(path), framework="numpy") as file:
            header = file.metadata() or {}
            document = _check_header(path, header)
            # A copy, so that the arrays stay good when the file is replaced or cut.
            tensors = {name: np.array(file.get_tensor(name)) for name in file.keys()}
    except safetensors.SafetensorError as error:
        raise ValueError(f"{path}: damaged or not a safetensors file: {error}") from error
    except (TypeError, AttributeError, KeyError) as error:
        # A number format that NumPy lacks (bfloat16, float8): not something save_tensors writes.
        raise ValueError(f"{path}: holds a tensor that cannot be read: {error}") from error
    return tensors, document


def _check_header(path: Path, header: Mapping[str, str]) -> dict[str, Any]:
    if header.get("format") != FORMAT:
        raise ValueError(
            f"{path}: a safetensors file, but not one of {FORMAT}'s (its format is "
            f"{header.get('format')!r})"
        )
    text = header.get("format_version", "")
    # isascii, because isdigit alone also accepts superscripts, which int() does not.
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise ValueError(f"{path}: damaged: format_version is {text!r}")
    if int(text) > FORMAT_VERSION:
        raise ValueError(
            f"{path}: has format version {text}, this version of {FORMAT} reads up to "
            f"{FORMAT_VERSION}; upgrade {FORMAT}"
        )
    try:
        document = json.loads(header.get("metadata", "{}"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"{path}: damaged: metadata is not JSON: {error}") from error
    if not isinstance(document, dict):
        raise ValueError(f"{path}: damaged: metadata is {type(document).__name__}, expected a dict")
    return document


def _plain(value: Any, where: str) -> Any:
    """`value` in JSON's own types; json.dumps alone would turn key 1 into "1" without a word."""
    if value is None or isinstance(value, (bool, str)):
        return value
    if isinstance(value, (np.bool_, np.integer, np.floating)):
        return value.item() if value.dtype.itemsize <= 8 else float(value)
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, np.ndarray) and value.dtype.kind in "biuf":
        return value.tolist()
    if isinstance(value, (list, tuple)):
        return [_plain(item, f"{where}[{i}]") for i, item in enumerate(value)]
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise TypeError(f"{where}: got the key {key!r}, expected a str")
        return {key: _plain(item, f"{where}[{key!r}]") for key, item in value.items()}
    raise TypeError(f"{where}: got {type(value).__name__}, which cannot be stored as JSON")


@contextlib.contextmanager
def atomic_write(path: PathLike) -> Iterator[IO[bytes]]:
    """A binary file that becomes `path` when the block ends well, and vanishes otherwise.

    Parameters
    ----------
    path : path
        Where the file is to be; its folder must exist. A symbolic link is followed.

    Yields
    ------
    file
        Open for writing (and reading), in the same folder under a hidden temporary name.

    Raises
    ------
    OSError
        If the folder does not exist or cannot be written.

    Notes
    -----
    Data reach the disk (``fsync``) before the name does, and the name before the call returns.
    """
    target = Path(os.path.realpath(path))
    if target.is_dir():
        raise IsADirectoryError(f"{path}: is a folder, expected the name of a file")
    if not target.parent.is_dir():
        raise FileNotFoundError(f"{path}: the folder {target.parent} does not exist")
    temporary = target.with_name(f".{target.name}.{os.getpid()}.{secrets.token_hex(4)}.tmp")
    try:
        # Opened inside the try: Ctrl-C can come as the call returns. Not by tempfile, so that the
        # file gets the permissions that the umask asks for.
        with open(temporary, "x+b") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    if os.name != "nt":  # Windows cannot open folders
        folder = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


# ---------------------------------------------------------------------------------------- models


@overload
def register_model(cls: _T) -> _T: ...
@overload
def register_model(*, name: str) -> Callable[[_T], _T]: ...
def register_model(cls: Any = None, *, name: str | None = None) -> Any:
    """Let a model class be saved and loaded; a decorator, with or without arguments.

    Parameters
    ----------
    cls : type
        Offers ``_get_state()`` and the class method ``_from_state(tensors, meta)``.
    name : str, default=None
        What files call it; the class's own name unless given.

    Returns
    -------
    type
        `cls` itself.

    Raises
    ------
    TypeError
        If `cls` is no class or lacks one of the methods.
    ValueError
        If another class has the name already.
    """
    if cls is None:
        return lambda decorated: _register(decorated, name)
    return _register(cls, name)


def _register(cls: _T, name: str | None) -> _T:
    if not isinstance(cls, type):
        raise TypeError(f"cls: got {cls!r}, expected a class")
    for method in ("_get_state", "_from_state"):
        if not callable(getattr(cls, method, None)):
            raise TypeError(f"cls: {cls.__name__} has no method {method}")
    name = cls.__name__ if name is None else name
    known = _models.get(name)
    # A module that is reloaded defines the same class anew; that is no clash.
    if known is not None and (known.__module__, known.__qualname__) != (
        cls.__module__,
        cls.__qualname__,
    ):
        raise ValueError(f"name: {name!r} is taken by {known.__module__}.{known.__qualname__}")
    _models[name] = cls
    return cls


def model_name(model: Any) -> str:
    """What files call the class of a model; TypeError if it is not registered."""
    name = next((n for n, cls in _models.items() if cls is type(model)), None)
    if name is None:
        raise TypeError(
            f"model: {type(model).__name__} is not registered, so it could not be loaded again; "
            "decorate the class with unsupfast.io.register_model"
        )
    return name


def model_class(name: str) -> Any:
    """The class that files call `name`; ValueError if it is not registered."""
    if name not in _models:
        raise ValueError(
            f"a model of class {name!r} is not known, only {', '.join(sorted(_models)) or 'none'}"
        )
    return _models[name]


def model_from_state(name: str, tensors: Mapping[str, np.ndarray], state: Any) -> Any:
    """A model of the class that files call `name`; ValueError if it is not registered."""
    return model_class(name)._from_state(tensors, state)


def save_model(model: Any, path: PathLike) -> None:
    """Write a model of a registered class to a file, atomically.

    Parameters
    ----------
    model : object
        An instance of a class given to :func:`register_model`.
    path : path
        Where to write, usually ``*.safetensors``.

    Raises
    ------
    TypeError
        If the class is not registered, or its state cannot be stored.
    OSError
        If the file cannot be written.
    """
    name = model_name(model)
    tensors, meta = model._get_state()
    save_tensors(path, tensors, {"model": name, "state": meta})


def load_state(path: PathLike) -> tuple[dict[str, np.ndarray], dict[str, Any], str]:
    """Read the state of a saved model without building the model, to resume from a checkpoint, say.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    tensors, meta : dict
        What the model's ``_get_state`` gave.
    name : str
        Under which name its class was registered.

    Raises
    ------
    ValueError
        As :func:`load_tensors`, or if the file holds no model.
    OSError
        If the file cannot be opened.
    """
    tensors, metadata = load_tensors(path)
    name, state = metadata.get("model"), metadata.get("state")
    if not (isinstance(name, str) and isinstance(state, dict)):
        raise ValueError(f"{path}: holds tensors but no model; read it with load_tensors")
    return tensors, state, name


def load(path: PathLike) -> Any:
    """Read a model that was saved with ``model.save(path)`` or :func:`save_model`.

    Parameters
    ----------
    path : path
        The file.

    Returns
    -------
    object
        A model of the class that the file names.

    Raises
    ------
    ValueError
        If the file is truncated, damaged, foreign, newer than this version, holds no model, names a
        class that is not registered, or holds a state that does not fit the class; the message
        names the path and the reason.
    OSError
        If the file cannot be opened.
    """
    path = Path(path)
    tensors, state, name = load_state(path)
    if name not in _models:
        raise ValueError(
            f"{path}: holds a model of class {name!r}, known are "
            f"{', '.join(sorted(_models)) or 'none'}; import the module that "
            "registers the class, or upgrade unsupfast"
        )
    try:
        return model_from_state(name, tensors, state)
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        what = f"missing {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path}: its state does not fit {name}: {what}") from error
