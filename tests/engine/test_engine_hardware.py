"""Laws of the look at the hardware: it reads what is there, says what mends it, and never hangs or falls over."""

from __future__ import annotations

import json
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from avengers_edge.engine import devices, spawn
from avengers_edge.engine.devices import (
    Device,
    Gpu,
    build_command,
    choose_threads,
    cpu_quota,
    device_memory,
    find_devices,
    find_gpus,
    gpu_backends,
    has_vulkan,
    parse_devices,
    parse_nvidia_proc,
    parse_nvidia_smi,
    physical_cores,
    remedy,
    usable_cores,
)
from avengers_edge.engine.memory import DeviceMemory

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


def test_the_vulkan_loader_is_found(tmp_path):
    put(tmp_path, "usr/lib/x86_64-linux-gnu/libvulkan.so.1")
    assert has_vulkan(tmp_path)


def test_the_vulkan_loader_of_windows_is_in_its_system_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("SYSTEMROOT", str(tmp_path))
    assert not has_vulkan()
    put(tmp_path, "System32/vulkan-1.dll")
    assert has_vulkan()


@pytest.mark.parametrize("error", [OSError("no"), subprocess.TimeoutExpired("nvidia-smi", 1)])
def test_a_tool_that_hangs_or_cannot_run_says_nothing(monkeypatch, error):
    monkeypatch.setattr(spawn.subprocess, "run", failing(error))
    assert spawn.output_of(["nvidia-smi"], 1) == ""
    assert find_devices(["cuda"]) == ()


def test_a_tool_that_fails_says_nothing(monkeypatch):
    monkeypatch.setattr(spawn.subprocess, "run", answering("NVIDIA H200", returncode=9))
    assert spawn.output_of(["nvidia-smi"], 1) == ""


def test_a_builds_backends_are_read_from_its_libraries(tmp_path):
    assert gpu_backends(tmp_path / "none") == ()
    for name in ("libggml.so", "libggml-base.so", "libggml-cpu.so", "libggml-cuda.so.0", "ggml-vulkan.dll"):
        put(tmp_path, name)
    assert gpu_backends(tmp_path) == ("cuda", "vulkan")


def test_a_build_without_a_gpu_backend_is_not_asked(monkeypatch):
    monkeypatch.setattr(spawn.subprocess, "run", failing(AssertionError("asked")))
    assert find_devices([]) == ()


@pytest.mark.parametrize(
    ("values", "memory"),
    [
        ([("gpu", 7), ("gpu", 5), ("cpu", 90)], DeviceMemory(12, unified=False)),
        ([("igpu", 2), ("gpu", 7), ("accelerator", 3)], DeviceMemory(7, unified=False)),
        ([("igpu", 2), ("cpu", 90)], DeviceMemory(2, unified=True)),
        ([("cpu", 90), ("accelerator", 3)], None),
        ([], None),
    ],
)
def test_free_memory_of_all_gpus_is_added_up_and_integrated_ones_count_where_there_is_no_other(
    monkeypatch, values, memory
):
    said = [{"name": kind, "description": "", "kind": kind, "free": free, "total": 99} for kind, free in values]
    monkeypatch.setattr(devices.sys, "platform", "linux")
    monkeypatch.setattr(devices, "gpu_backends", lambda: ("cuda",))
    monkeypatch.setattr(spawn.subprocess, "run", answering("chatter\n" + json.dumps(said) + "\n"))
    assert device_memory() == memory


def test_a_gpu_of_apple_silicon_computes_in_main_memory(monkeypatch):
    monkeypatch.setattr(devices.sys, "platform", "darwin")
    monkeypatch.setattr(devices.platform, "machine", lambda: "arm64")
    assert devices.shares_main_memory([CUDA])


def test_a_probe_that_dies_sees_no_device(monkeypatch):
    monkeypatch.setattr(devices, "gpu_backends", lambda: ("cuda",))
    monkeypatch.setattr(spawn.subprocess, "run", answering("", returncode=-11))
    assert device_memory() is None


def test_a_frozen_program_is_not_run_again_to_look_for_devices(monkeypatch):
    monkeypatch.setattr(devices.sys, "frozen", True, raising=False)
    monkeypatch.setattr(spawn.subprocess, "run", failing(AssertionError("asked")))
    assert find_devices(["cuda"]) == ()


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
    listed = devices._list_devices()
    assert "cpu" in [device.kind for device in listed]


@pytest.mark.native
def test_the_probe_runs_in_a_process_of_its_own():
    command = devices.python_command(devices.DEVICES)
    done = subprocess.run(command, env=devices.environment(), capture_output=True, text=True, check=True)
    assert "cpu" in [device.kind for device in parse_devices(done.stdout)]


# --- cores ---


def put_cores(root, siblings):
    for group in siblings:
        for cpu in group:
            put(
                root,
                f"sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list",
                ",".join(map(str, group)) + "\n",
            )


def test_threads_of_one_core_are_one_core_and_only_those_that_are_allowed_count(tmp_path):
    put_cores(tmp_path, [(0, 4), (1, 5), (2, 6), (3,)])
    assert physical_cores(range(7), tmp_path) == 4
    assert physical_cores({0, 4, 5}, tmp_path) == 2
    assert physical_cores({0, 99}, tmp_path) is None, "what the system does not say of all, it says of none"


@pytest.mark.parametrize(
    ("logical", "physical", "quota", "threads"),
    [
        (16, 8, None, 8),
        (16, None, None, 16),
        (8, 2, None, 4),
        (2, 1, None, 2),
        (1, 1, None, 1),
        (16, 8, 2.0, 2),
        (16, 8, 2.1, 3),
        (16, 8, 0.5, 1),
        (8, 2, 3.0, 3),
        (4, 4, 64.0, 4),
    ],
)
def test_a_thread_goes_to_each_core_that_can_be_used(logical, physical, quota, threads):
    assert choose_threads(logical, physical, quota) == threads


def test_a_quota_of_version_2_counts_wherever_above_it_is_set(tmp_path):
    put(tmp_path, "proc/self/cgroup", "0::/box/job\n")
    assert cpu_quota(tmp_path) is None
    put(tmp_path, "sys/fs/cgroup/box/job/cpu.max", "max 100000\n")
    assert cpu_quota(tmp_path) is None
    put(tmp_path, "sys/fs/cgroup/box/cpu.max", "150000 100000\n")
    assert cpu_quota(tmp_path) == 1.5
    put(tmp_path, "sys/fs/cgroup/box/job/cpu.max", "50000 100000\n")
    assert cpu_quota(tmp_path) == 0.5


@pytest.mark.parametrize("mount", ["cpu,cpuacct", "cpu"])
@pytest.mark.parametrize("folder", ["", "/box"])
def test_a_quota_of_version_1_counts_and_a_containers_own_group_may_lie_at_the_top(tmp_path, mount, folder):
    put(tmp_path, "proc/self/cgroup", "5:memory:/box\n4:cpu,cpuacct:/box\n0::/\n")
    put(tmp_path, f"sys/fs/cgroup/{mount}{folder}/cpu.cfs_quota_us", "250000\n")
    put(tmp_path, f"sys/fs/cgroup/{mount}{folder}/cpu.cfs_period_us", "100000\n")
    assert cpu_quota(tmp_path) == 2.5
    put(tmp_path, f"sys/fs/cgroup/{mount}{folder}/cpu.cfs_quota_us", "-1\n")
    assert cpu_quota(tmp_path) is None


@pytest.mark.parametrize("said", ["", "nonsense\n", "0::/../..\n", "1:cpuset:/\n"])
def test_a_group_that_says_nothing_sets_no_limit(tmp_path, said):
    put(tmp_path, "proc/self/cgroup", said)
    put(tmp_path, "sys/fs/cgroup/cpu.max", "0 0 0\n")
    put(tmp_path, "cpu.max", "1 1\n")
    assert cpu_quota(tmp_path) is None


def test_the_system_is_asked_for_all_three(tmp_path, monkeypatch):
    monkeypatch.setattr(devices.sys, "platform", "linux")
    monkeypatch.setattr(devices, "_allowed_cpus", lambda: set(range(12)))
    assert usable_cores(tmp_path) == 12
    put_cores(tmp_path, [(cpu, cpu + 6) for cpu in range(6)])
    assert usable_cores(tmp_path) == 6
    put(tmp_path, "proc/self/cgroup", "0::/\n")
    put(tmp_path, "sys/fs/cgroup/cpu.max", "200000 100000\n")
    assert usable_cores(tmp_path) == 2


def test_this_machine_has_a_core():
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    ("performance", "all_cores", "count"), [("4\n", "8\n", 4), ("", "6\n", 6), ("", "", 12), ("what?\n", "?", 12)]
)
def test_a_mac_names_its_performance_cores_first(monkeypatch, tmp_path, performance, all_cores, count):
    said = {"hw.perflevel0.physicalcpu": performance, "hw.physicalcpu": all_cores}
    monkeypatch.setattr(devices.sys, "platform", "darwin")
    monkeypatch.setattr(devices, "_allowed_cpus", lambda: range(12))
    monkeypatch.setattr(devices, "output_of", lambda command, seconds: said[command[-1]])
    assert usable_cores(tmp_path) == count
