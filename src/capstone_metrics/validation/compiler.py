"""Compile the inner loop of the scanner once on a machine, and then load it from a cache.

Loading needs `llvmlite` alone and takes a twentieth of a second of CPU. `numba` takes half a second
to import and some seconds to compile, so it is only imported where the cache has nothing.
"""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import tempfile
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Scan = Callable[..., int]

FOLDER = Path(__file__).parent
SOURCES = ("kernel/*.py", "layout.py")
ARGUMENT_COUNT = 19
DIGEST_BYTES = 32


@cache
def load_scan(*, compiles: bool) -> Scan | None:
    """Return the scan of `kernel` as machine code, which takes addresses; None without numba.

    Args:
        compiles: whether to compile it if the cache does not have it.
    """
    try:
        return _load(compiles=compiles)
    except (ImportError, OSError):  # OSError if a library of the system is missing
        return None


def _load(*, compiles: bool) -> Scan | None:
    """Load the machine code from the cache, or compile it; None if it may not be compiled."""
    import llvmlite.binding as llvm  # noqa: PLC0415 - optional, and slow to import

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    target = llvm.Target.from_default_triple().create_target_machine(
        cpu=llvm.get_host_cpu_name(),
        features=llvm.get_host_cpu_features().flatten(),
        opt=3,
        jit=True,
    )
    name = f"scan-{_key(llvm)}.bin"
    code = _read_cache(name)
    if code is None:
        if not compiles:
            return None
        code = _compile(llvm, target)
        _write_cache(name, code)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), target)
    symbol, _, machine_code = code.partition(b"\0")
    engine.add_object_file(llvm.ObjectFileRef.from_data(machine_code))
    engine.finalize_object()
    return _callable(engine, engine.get_function_address(symbol.decode()))


def _callable(engine: Any, address: int) -> Scan:
    """Return a function of Python that calls the machine code at an address.

    Functions of numba return their result by a pointer. The call does not hold Python's lock.
    """
    pointers = [ctypes.c_void_p] * (ARGUMENT_COUNT + 2)
    function = ctypes.CFUNCTYPE(ctypes.c_int32, *pointers)(address)

    def scan(*addresses: int) -> int:
        result = ctypes.c_int64()
        if status := function(ctypes.addressof(result), None, *addresses):
            raise RuntimeError(
                f"{engine} returned {status}"
            )  # the code lives as long as the engine
        return result.value

    return scan


def _compile(llvm: Any, target: Any) -> bytes:
    """Compile the scan; return the name of its symbol, a NUL, and the object file with it."""
    from numba import njit  # noqa: PLC0415 - slow to import, and only needed once

    from capstone_metrics.validation.kernel.scan import SIGNATURE, scan  # noqa: PLC0415 - as above

    options: Any = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    compiled: Any = njit([SIGNATURE], **options)(scan.py_func)
    (assembly,) = compiled.inspect_llvm().values()
    (overload,) = compiled.overloads.values()
    symbol: str = overload.fndesc.llvm_func_name
    code: bytes = target.emit_object(llvm.parse_assembly(assembly))
    return symbol.encode() + b"\0" + code


def _key(llvm: Any) -> str:
    """Return a hash of all that the machine code depends on."""
    parts = [path.read_bytes() for name in SOURCES for path in sorted(FOLDER.glob(name))]
    parts += [metadata.version(name).encode() for name in ("numba", "llvmlite")]
    parts += [llvm.get_host_cpu_name().encode(), llvm.get_host_cpu_features().flatten().encode()]
    return hashlib.sha256(b"\0".join(parts)).hexdigest()[:32]


def _folders() -> Iterator[Path]:
    """Yield where the cache may be: beside the bytecode of this module, or in the user's cache."""
    yield FOLDER / "__pycache__"
    with contextlib.suppress(RuntimeError):  # a user without a home
        yield Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "capstone-metrics"


def _read_cache(name: str) -> bytes | None:
    """Return the code in the first intact file of a name; None if no folder has one."""
    for folder in _folders():
        with contextlib.suppress(OSError):
            content = (folder / name).read_bytes()
            digest, code = content[:DIGEST_BYTES], content[DIGEST_BYTES:]
            if hashlib.sha256(code).digest() == digest:
                return code
    return None


def _write_cache(name: str, code: bytes) -> None:
    """Write code to the first folder that can be written to; if none can, each run compiles."""
    for folder in _folders():
        with contextlib.suppress(OSError):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, temporary = tempfile.mkstemp(dir=folder)
            with os.fdopen(descriptor, "wb") as file:
                file.write(hashlib.sha256(code).digest() + code)
            Path(temporary).replace(folder / name)
            return
