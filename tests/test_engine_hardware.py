"""Laws of the look at the hardware: it reads what is there, says what mends it, and never hangs or falls over."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine import hardware
from avengers_edge.engine.hardware import (
    Device,
    Gpu,
    build_command,
    device_memory,
    find_devices,
    find_gpus,
    gpu_backends,
    has_vulkan,
    parse_devices,
    parse_nvidia_proc,
    parse_nvidia_smi,
    remedy,
)

NVIDIA, AMD, APPLE, INTEL = Gpu("NVIDIA", "RTX"), Gpu("AMD", "AMD GPU"), Gpu("Apple", "M3"), Gpu("Intel", "Intel GPU")
CUDA = Device("CUDA0", "RTX", "gpu", 7, 8)
INFORMATION = """Model: \t\t NVIDIA GeForce RTX 3060
IRQ:   \t\t 130
GPU UUID: \t GPU-00000000-0000-0000-0000-000000000000
Bus Location: \t 0000:01:00.0
"""


def put(root, path, text=""):
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")


def answering(stdout, returncode=0):
    def run(command, **options):
        assert options["timeout"] > 0, "nothing may be waited for without an end"
        return subprocess.CompletedProcess(command, returncode, stdout, "")

    return run


def failing(error):
    def run(command, **options):
        raise error

    return run


def test_the_drivers_files_name_each_nvidia_gpu():
    assert parse_nvidia_proc([INFORMATION, INFORMATION]) == (Gpu("NVIDIA", "NVIDIA GeForce RTX 3060"),) * 2
    assert parse_nvidia_proc([]) == ()


@pytest.mark.parametrize(
    ("said", "names"),
    [
        ("NVIDIA H200\nNVIDIA A100-SXM4-40GB\n", ["NVIDIA H200", "NVIDIA A100-SXM4-40GB"]),
        ("", []),
        ("NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver.\n", []),
        ("No devices were found.\n", []),
    ],
)
def test_nvidia_smi_names_gpus_and_its_prose_is_none(said, names):
    assert parse_nvidia_smi(said) == tuple(Gpu("NVIDIA", name) for name in names)


def test_an_empty_system_has_no_gpu(tmp_path):
    assert find_gpus(tmp_path) == ()
    assert not has_vulkan(tmp_path)


def test_gpus_are_found_in_the_systems_files(tmp_path):
    put(tmp_path, "proc/driver/nvidia/gpus/0000:01:00.0/information", INFORMATION)
    put(tmp_path, "sys/class/drm/card0/device/vendor", "0x8086\n")
    put(tmp_path, "sys/class/drm/card1/device/vendor", "0x1002\n")
    put(tmp_path, "sys/class/drm/card2/device/vendor", "0x1a03\n")
    assert find_gpus(tmp_path) == (Gpu("NVIDIA", "NVIDIA GeForce RTX 3060"), AMD, INTEL)


def test_amds_compute_driver_is_a_gpu(tmp_path):
    put(tmp_path, "dev/kfd")
    assert find_gpus(tmp_path) == (AMD,)


@pytest.mark.skipif(hardware.os.name == "nt", reason="the loader is looked up on the path there")
def test_the_vulkan_loader_is_found(tmp_path):
    put(tmp_path, "usr/lib/x86_64-linux-gnu/libvulkan.so.1")
    assert has_vulkan(tmp_path)


@pytest.mark.parametrize("error", [OSError("no"), subprocess.TimeoutExpired("nvidia-smi", 1)])
def test_a_tool_that_hangs_or_cannot_run_says_nothing(monkeypatch, error):
    monkeypatch.setattr(hardware.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(hardware.subprocess, "run", failing(error))
    assert hardware._run_tool("nvidia-smi") == ""
    assert find_devices(["cuda"]) == ()


def test_a_tool_that_fails_says_nothing(monkeypatch):
    monkeypatch.setattr(hardware.shutil, "which", lambda name: f"/bin/{name}")
    monkeypatch.setattr(hardware.subprocess, "run", answering("NVIDIA H200", returncode=9))
    assert hardware._run_tool("nvidia-smi") == ""


def test_a_builds_backends_are_read_from_its_libraries(tmp_path):
    assert gpu_backends(tmp_path / "none") == ()
    for name in ("libggml.so", "libggml-base.so", "libggml-cpu.so", "libggml-cuda.so.0", "ggml-vulkan.dll"):
        put(tmp_path, name)
    assert gpu_backends(tmp_path) == ("cuda", "vulkan")


def test_a_build_without_a_gpu_backend_is_not_asked(monkeypatch):
    monkeypatch.setattr(hardware.subprocess, "run", failing(AssertionError("asked")))
    assert find_devices([]) == ()


def test_free_memory_of_all_gpus_is_added_up_and_the_cpu_is_none(monkeypatch):
    values = [("CUDA0", "gpu", 7), ("CUDA1", "gpu", 5), ("Vulkan0", "igpu", 2), ("CPU", "cpu", 90)]
    said = [{"name": name, "description": "", "kind": kind, "free": free, "total": 99} for name, kind, free in values]
    monkeypatch.setattr(hardware, "gpu_backends", lambda: ("cuda",))
    monkeypatch.setattr(hardware.subprocess, "run", answering("chatter\n" + json.dumps(said) + "\n"))
    assert device_memory() == 14
    monkeypatch.setattr(hardware.subprocess, "run", answering("", returncode=-11))
    assert device_memory() is None


@given(st.text())
def test_whatever_the_probe_says_is_read_or_none(text):
    assert isinstance(parse_devices(text), tuple)


@pytest.mark.parametrize(
    ("gpus", "vulkan", "flag"),
    [
        ([NVIDIA], True, "-DGGML_CUDA=on"),
        ([INTEL, NVIDIA], False, "-DGGML_CUDA=on"),
        ([APPLE], False, "-DGGML_METAL=on"),
        ([AMD], False, "-DGGML_HIP=on"),
        ([AMD], True, "-DGGML_VULKAN=on"),
        ([INTEL], False, "-DGGML_VULKAN=on"),
    ],
)
def test_a_gpu_that_the_build_cannot_use_has_a_remedy(gpus, vulkan, flag):
    said = remedy(gpus, (), (), vulkan=vulkan)
    assert said is not None
    assert flag in said
    assert "--no-cache-dir llama-cpp-python==" in said
    assert "\n" not in said
    assert "http" not in said


def test_nothing_is_to_be_mended_without_a_gpu_or_where_it_is_used():
    assert remedy([], (), ()) is None
    assert remedy([NVIDIA], ("cuda",), [CUDA]) is None


def test_a_build_whose_backend_sees_nothing_points_at_the_driver():
    assert "check the driver" in str(remedy([NVIDIA], ("cuda",), ()))


def test_the_build_command_is_the_shells():
    assert build_command("GGML_CUDA", windows=False).startswith('CMAKE_ARGS="-DGGML_CUDA=on" pip install')
    assert build_command("GGML_CUDA", windows=True).startswith('$env:CMAKE_ARGS="-DGGML_CUDA=on"; pip install')


@pytest.mark.native
def test_llama_cpp_lists_its_devices():
    listed = hardware._list_devices()
    assert "cpu" in [each["kind"] for each in listed]
    assert parse_devices(json.dumps(listed))
