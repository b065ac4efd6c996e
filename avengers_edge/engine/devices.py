"""What a machine computes with: the cores worth a thread each, its GPUs, and which of them llama.cpp can use.

What the build sees is asked in a process of its own, which runs this module: looking at a CUDA device takes hundreds of
megabytes of its memory, and a broken driver can take the process down.
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import os
import platform
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import msgspec

from avengers_edge.engine.memory import DeviceMemory
from avengers_edge.engine.spawn import DEVICES, environment, output_of, python_command
from avengers_edge.errors import BadRequest

_ROOT = Path("/")
_FEW = 4
_SYSCTL = ("/usr/sbin/sysctl", "-n")


def usable_cores(root: Path = _ROOT) -> int:
    """Count the cores that are worth a thread each: allowed ones, each physical core once, within a container's quota.

    `root` is where the system's files are looked for.
    """
    cpus = _allowed_cpus()
    if sys.platform == "darwin":  # an Intel Mac knows no performance cores
        kinds = ("hw.perflevel0.physicalcpu", "hw.physicalcpu")
        counts = (output_of([*_SYSCTL, kind], TOOL_SECONDS).strip() for kind in kinds)
        physical = next((int(count) for count in counts if count.isdecimal()), None)
    else:
        physical = physical_cores(cpus, root)
    return choose_threads(len(cpus), physical, cpu_quota(root))


def choose_threads(logical: int, physical: int | None, quota: float | None) -> int:
    """Choose a number of threads."""
    # Two threads of one core gain nothing from each other, but below four cores they hide what else the machine does. A
    # thread beyond the quota only uses it up sooner: then all stand still together.
    threads = max(physical or logical, min(_FEW, logical))
    return threads if quota is None else min(threads, max(1, math.ceil(quota)))


def physical_cores(cpus: Collection[int], root: Path = _ROOT) -> int | None:
    """Count the physical cores of some logical ones; None where the system does not say."""
    files = (root / f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list" for cpu in cpus)
    with contextlib.suppress(OSError, ValueError):
        return len({file.read_text(encoding="ascii").strip() for file in files})
    return None


def cpu_quota(root: Path = _ROOT) -> float | None:
    """Return how many cores' worth of time the control groups give this process, version 1 or 2; None for no limit."""
    with contextlib.suppress(OSError, ValueError):
        own = (root / "proc/self/cgroup").read_text(encoding="utf-8")
        return min((quota for folder in _groups(own, root) if (quota := _quota_of(folder))), default=None)
    return None


def _groups(own: str, root: Path) -> Iterator[Path]:
    """Find the folders of a process's CPU group and of all above it: each of them may set a limit."""
    for line in own.splitlines():
        _, controllers, path = line.split(":", 2)
        if controllers and "cpu" not in controllers.split(","):
            continue
        mounts = [root / "sys/fs/cgroup" / mount for mount in (controllers, "cpu" if controllers else "unified")]
        parts = [part for part in PurePosixPath(path).parts if part not in ("/", "..")]
        for mount in mounts:
            yield from (mount.joinpath(*parts[:depth]) for depth in range(len(parts) + 1))


def _quota_of(folder: Path) -> float | None:
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError):
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    return None


def _allowed_cpus() -> Collection[int]:
    if hasattr(os, "sched_getaffinity"):  # Linux
        return os.sched_getaffinity(0)
    return range(os.cpu_count() or 1)


TOOL_SECONDS = 10
PROBE_SECONDS = 30

_PCI_VENDORS = {"0x10de": "NVIDIA", "0x1002": "AMD", "0x8086": "Intel"}
_VULKAN_LOADERS = (
    "usr/lib/libvulkan.so.1",
    "usr/lib64/libvulkan.so.1",
    "usr/lib/*/libvulkan.so.1",
    "System32/vulkan-1.dll",  # below Windows' own folder
)
_TOOLS = {
    "NVIDIA": ("the CUDA toolkit", "GGML_CUDA"),
    "Apple": ("the Xcode command line tools", "GGML_METAL"),
    "AMD": ("ROCm", "GGML_HIP"),
}
_GPU_BACKENDS = ("cuda", "metal", "hip", "vulkan", "sycl", "opencl", "musa", "cann")
_KINDS = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accelerator"}  # enum ggml_backend_dev_type


@dataclass(frozen=True, slots=True)
class Gpu:
    """A GPU that the operating system knows of."""

    vendor: str
    name: str


@dataclass(frozen=True, slots=True)
class Device:
    """A device that this build of llama.cpp can compute on; memory in bytes."""

    name: str
    description: str
    kind: str
    free: int
    total: int


# --- what is there ---


def find_gpus(root: Path = _ROOT) -> tuple[Gpu, ...]:
    """Look for GPUs without llama.cpp in the system's files below `root`, and by NVIDIA's tool where that is `/`."""
    if sys.platform == "darwin" and root == _ROOT:
        return (Gpu("Apple", platform.processor() or "Apple silicon"),) if platform.machine() == "arm64" else ()
    found = parse_nvidia_proc(_texts(root, "proc/driver/nvidia/gpus/*/information"))
    if not found and root == _ROOT:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        found = parse_nvidia_smi(output_of(command, TOOL_SECONDS))
    vendors = [_PCI_VENDORS.get(code.strip()) for code in _texts(root, "sys/class/drm/card[0-9]/device/vendor")]
    if "AMD" in vendors or (root / "dev/kfd").exists():
        found += (Gpu("AMD", "AMD GPU"),)
    if "Intel" in vendors:
        found += (Gpu("Intel", "Intel GPU"),)
    return found


def parse_nvidia_proc(texts: Sequence[str]) -> tuple[Gpu, ...]:
    """Read the driver's `information` files, one for each GPU."""
    lines = [line.partition(":") for text in texts for line in text.splitlines()]
    return tuple(Gpu("NVIDIA", value.strip()) for key, _, value in lines if key.strip() == "Model")


def parse_nvidia_smi(text: str) -> tuple[Gpu, ...]:
    """Read `nvidia-smi --query-gpu=name --format=csv,noheader`; a failure's prose is no GPU."""
    names = [line.strip() for line in text.splitlines() if line.strip()]
    return tuple(Gpu("NVIDIA", name) for name in names if not name.endswith(".") and "fail" not in name.lower())


def has_vulkan(root: Path | None = None) -> bool:
    """Return whether the Vulkan loader is installed, so that a Vulkan build could run; `root` as in `find_gpus`."""
    root = root or Path(os.environ.get("SYSTEMROOT", _ROOT))  # which only Windows has
    return any(any(root.glob(pattern)) for pattern in _VULKAN_LOADERS)


def _texts(root: Path, pattern: str) -> list[str]:
    texts = []
    with contextlib.suppress(OSError):
        for path in sorted(root.glob(pattern)):
            with contextlib.suppress(OSError):
                texts.append(path.read_text(encoding="utf-8", errors="replace"))
    return texts


# --- what the build can use ---


def library_folder() -> Path | None:
    """Find the folder of llama.cpp's libraries; nothing is loaded."""
    try:
        spec = importlib.util.find_spec("llama_cpp")
    except (ImportError, ValueError):
        return None
    return Path(spec.origin).parent / "lib" if spec and spec.origin else None


def gpu_backends(folder: Path | None = None) -> tuple[str, ...]:
    """Return the GPU backends that llama.cpp was built with, by the libraries beside it; nothing is loaded."""
    folder = folder or library_folder()
    names = [path.name.lower() for path in folder.glob("*ggml-*")] if folder and folder.is_dir() else []
    return tuple(backend for backend in _GPU_BACKENDS if any(f"ggml-{backend}." in name for name in names))


def find_devices(backends: Collection[str] | None = None) -> tuple[Device, ...]:
    """Ask llama.cpp, in a process of its own, which GPUs it offloads to and how much memory is free there.

    A build without a GPU backend is not asked; one that dies or says nothing in time has none.
    """
    if not (gpu_backends() if backends is None else backends):
        return ()
    try:
        command = python_command(DEVICES)
    except BadRequest:
        return ()
    listed = parse_devices(output_of(command, PROBE_SECONDS, environment()))
    discrete = tuple(device for device in listed if device.kind == "gpu")
    return discrete or tuple(device for device in listed if device.kind == "igpu")  # llama.cpp's own choice


def parse_devices(text: str) -> tuple[Device, ...]:
    """Read what `report_devices` wrote: one JSON list, in the last line."""
    try:
        return msgspec.json.decode(text.strip().splitlines()[-1], type=tuple[Device, ...])
    except (ValueError, IndexError, RecursionError):
        return ()


def device_memory() -> DeviceMemory | None:
    """Return how much memory is free on all devices together; None where there is none to use."""
    devices = find_devices()
    return DeviceMemory(sum(device.free for device in devices), shares_main_memory(devices)) if devices else None


def shares_main_memory(devices: Collection[Device]) -> bool:
    """Return whether the GPUs compute in main memory, so that offloaded layers count there too."""
    on_apple_silicon = sys.platform == "darwin" and platform.machine() == "arm64"
    return on_apple_silicon or all(device.kind == "igpu" for device in devices)


def report_devices() -> None:
    """Write llama.cpp's devices to standard output as JSON."""
    sys.stdout.write(msgspec.json.encode(_list_devices()).decode() + "\n")


def _list_devices() -> list[Device]:
    import ctypes

    from llama_cpp import llama_cpp as llama
    from llama_cpp._ggml import libggml as ggml

    llama.llama_backend_init()
    pointer, size = ctypes.c_void_p, ctypes.c_size_t
    ggml.ggml_backend_dev_count.restype = size
    ggml.ggml_backend_dev_get.restype, ggml.ggml_backend_dev_get.argtypes = pointer, [size]
    for name in ("name", "description"):
        function = getattr(ggml, f"ggml_backend_dev_{name}")
        function.restype, function.argtypes = ctypes.c_char_p, [pointer]
    ggml.ggml_backend_dev_type.argtypes = [pointer]
    ggml.ggml_backend_dev_memory.restype = None
    ggml.ggml_backend_dev_memory.argtypes = [pointer, ctypes.POINTER(size), ctypes.POINTER(size)]
    devices = []
    for place in range(ggml.ggml_backend_dev_count()):
        handle, free, total = ggml.ggml_backend_dev_get(place), size(), size()
        ggml.ggml_backend_dev_memory(handle, ctypes.byref(free), ctypes.byref(total))
        name, description = (
            function(handle).decode("utf-8", "replace")
            for function in (ggml.ggml_backend_dev_name, ggml.ggml_backend_dev_description)
        )
        kind = _KINDS.get(ggml.ggml_backend_dev_type(handle), "other")
        devices.append(Device(name, description, kind, free.value, total.value))
    return devices


# --- what mends it ---


def remedy(
    gpus: Collection[Gpu], backends: Collection[str], devices: Collection[Device], *, vulkan: bool = False
) -> str | None:
    """Return how to make llama.cpp use a GPU that is there; None where nothing is to be done.

    `backends` are those of this build, `devices` what they see, `vulkan` whether the loader is there.
    """
    if not gpus or devices:
        return None
    if backends:
        return (
            f"the build has {', '.join(backends)} but sees no device: check the driver (nvidia-smi, rocminfo or "
            "vulkaninfo), and that no variable such as CUDA_VISIBLE_DEVICES hides it"
        )
    vendors = {gpu.vendor for gpu in gpus} - ({"AMD"} if vulkan else set())  # Vulkan is easier than AMD's own tools
    named = (_TOOLS[vendor] for vendor in _TOOLS if vendor in vendors)
    tools, flag = next(named, ("the Vulkan SDK", "GGML_VULKAN"))
    return f"install {tools}, then build llama.cpp for the GPU: {build_command(flag)}"


def build_command(flag: str, *, windows: bool = sys.platform == "win32") -> str:
    """Write the command that builds the installed version of llama-cpp-python anew, with one flag on."""
    from importlib.metadata import version  # slow to import, and routing imports this module

    release = version("llama-cpp-python")
    pip = f"pip install --force-reinstall --no-cache-dir llama-cpp-python=={release}"
    return f'$env:CMAKE_ARGS="-D{flag}=on"; {pip}' if windows else f'CMAKE_ARGS="-D{flag}=on" {pip}'


if __name__ == "__main__":
    report_devices()
