"""What a hostile program cannot do, and what an honest one can; every law holds for every way of shutting in."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from avengers_edge.errors import NoSandbox
from avengers_edge.sandbox import linux
from avengers_edge.sandbox.execution import Limits
from avengers_edge.sandbox.linux import Mechanism, Sandbox, candidates

pytestmark = pytest.mark.rights

MIB = 2**20
SHORT = Limits(wall_seconds=2.0, cpu_seconds=2)
TRY = """
def attempt(action):
    try:
        print("DONE", action())
    except BaseException as error:
        print("refused", type(error).__name__)
"""


@pytest.fixture(scope="module", params=["namespaces", "bubblewrap", "landlock"])
def sandbox(request):
    mechanism = next((each for each in candidates() if each.name == request.param), None)
    if mechanism is None:
        root = request.param == "bubblewrap" and os.geteuid() == 0
        pytest.skip(f"{request.param} is not {'used for root' if root else 'installed here'}")
    sandbox = Sandbox(mechanism)
    try:
        assert sandbox.run_python("import json", limits=Limits(wall_seconds=60)).passed
    except NoSandbox as error:
        pytest.skip(str(error))
    return sandbox


@pytest.fixture(autouse=True)
def nothing_is_left():
    yield
    until = time.monotonic() + 5
    while leftovers() and time.monotonic() < until:
        time.sleep(0.01)
    assert leftovers() == []


def leftovers():
    """Processes that this one's sandboxes started: their command lines have its number in them."""
    ours = f"\0{os.getpid()}\0".encode()
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            words = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if b"avengers_edge.sandbox.inside.main" in words and ours in words:
            found.append(entry.name)
    return found


def writes_files(sandbox):
    return "write no file" not in sandbox.describe()


def test_a_program_prints_and_exits_as_python_does(sandbox):
    execution = sandbox.run_python("import sys; print(input()); print('é', file=sys.stderr)", stdin="hello\n")
    assert (execution.outcome, execution.exit_code) == ("passed", 0)
    assert (execution.stdout, execution.stderr) == ("hello\n", "é\n")
    assert execution.seconds > 0


@pytest.mark.parametrize(
    ("source", "code"),
    [("import sys; sys.exit(3)", 3), ("raise ValueError('no')", 1), ("import os; os._exit(7)", 7), ("1 +", 1)],
)
def test_what_does_not_exit_with_0_has_failed(sandbox, source, code):
    execution = sandbox.run_python(source)
    assert (execution.outcome, execution.exit_code) == ("failed", code)


def test_a_traceback_shows_the_program_and_nothing_of_ours(sandbox):
    error = sandbox.run_python("def f():\n    return 1 / 0\nf()").stderr
    assert error.splitlines()[1:] == [
        '  File "<program>", line 3, in <module>',
        '  File "<program>", line 2, in f',
        "ZeroDivisionError: division by zero",
    ]


def test_the_standard_library_is_there_and_no_installed_package(sandbox):
    modules = (
        "asyncio, ctypes, decimal, functools, heapq, itertools, json, math, re, sqlite3, statistics, typing, zoneinfo"
    )
    assert sandbox.run_python(f"import {modules}").passed
    assert "ModuleNotFoundError" in sandbox.run_python("import pytest").stderr
    assert sandbox.run_python("import asyncio; asyncio.run(asyncio.sleep(0))").passed


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of installed packages that only its owner could read, if it were not shown."""
    for package in ("wanted", "beside"):
        (tmp_path / package / "inner").mkdir(parents=True)
        (tmp_path / package / "__init__.py").write_text("from wanted.inner import one", encoding="utf-8")
        (tmp_path / package / "inner" / "__init__.py").write_text("one = 1", encoding="utf-8")
    (tmp_path / "secret.py").write_text("one = 'hunter2'", encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    return tmp_path


def test_packages_that_are_named_can_be_imported_and_nothing_that_lies_beside_them(sandbox, shelf):
    if sandbox._mechanism.name == "landlock" and os.geteuid() == 0:
        pytest.skip("nobody may look into this folder, and nothing is mounted elsewhere")
    program = f"""
import os
def imported(name):
    return __import__(name).one
for name in ('wanted', 'beside', 'secret', 'absent'):
    attempt(lambda: imported(name))
attempt(lambda: open({str(shelf / "secret.py")!r}).read())
attempt(lambda: os.listdir({str(shelf / "beside")!r}))
import wanted
attempt(lambda: open(os.path.dirname(wanted.__file__) + '/new.py', 'w'))
attempt(lambda: os.listdir({str(shelf)!r}))
"""
    named = sandbox.run_python(TRY + program, packages=("wanted", "absent", "secret"))
    assert [line.split()[0] for line in named.stdout.splitlines()] == ["DONE", *["refused"] * 7], named
    assert "DONE" not in sandbox.run_python(TRY + program).stdout
    assert "hunter2" not in named.stdout
    assert not list(shelf.rglob("__pycache__"))
    assert not list(shelf.rglob("new.py"))


def test_the_environment_is_empty_but_for_what_python_needs(sandbox, monkeypatch):
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    assert sandbox.run_python("import os; print(sorted(os.environ))").stdout.strip() == str(sorted(linux._ENVIRONMENT))


def test_a_set_has_the_same_order_in_every_run(sandbox):
    program = "print({str(number) for number in range(50)})"
    assert sandbox.run_python(program).stdout == sandbox.run_python(program).stdout


@pytest.mark.parametrize(
    "bomb",
    [
        "import os\nwhile True: os.fork()",
        "import os\nwhile True:\n  try: os.fork()\n  except OSError: pass",
        "import os\nif os.fork() == 0:\n  os.setsid()\n  while True: pass",
        "import multiprocessing as m\nm.set_start_method('fork')\nm.Process(target=print).start()",
        "import subprocess\nsubprocess.run(['/bin/sh', '-c', ':'])",
        "import os\nos.execv('/bin/sh', ['sh', '-c', 'exit 0'])",
        "import os, sys\nos.execv(sys.executable, ['python', '-c', ''])",
        "import os\nos.posix_spawn('/bin/sh', ['sh'], {})",
    ],
    ids=["fork", "stubborn fork", "daemon", "multiprocessing", "shell", "exec", "python", "spawn"],
)
def test_no_other_process_and_no_other_program_can_be_started(sandbox, bomb):
    assert sandbox.run_python(bomb, limits=SHORT).outcome in ("failed", "timeout")


def test_threads_are_bounded(sandbox):
    program = """
import threading, time
threading.stack_size(65536)
for _ in range(200):
    threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
"""
    execution = sandbox.run_python(program, limits=SHORT)
    assert execution.outcome == "failed"
    assert "can't start new thread" in execution.stderr


@pytest.mark.parametrize("bomb", ["x = 'x' * 10**10", "x = []\nwhile True: x.append(bytearray(10**6))"])
def test_a_memory_bomb_ends_by_itself(sandbox, bomb):
    assert sandbox.run_python(bomb).outcome == "memory"


def test_memory_outside_the_address_space_cannot_be_had(sandbox):
    program = "import os\nf = os.memfd_create('x')"
    assert "PermissionError" in sandbox.run_python(program).stderr


@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_endless_output_is_cut(sandbox, stream):
    execution = sandbox.run_python(f"import sys\nwhile True: print('x' * 999, file=sys.{stream})")
    assert execution.outcome == "output"
    assert len(execution.stdout) + len(execution.stderr) <= 2 * Limits().output_bytes


@pytest.mark.parametrize(
    "program",
    [
        "import time; time.sleep(10**6)",
        "while True: pass",
        "import signal, time\nfor s in {*range(1, 65)} - {9, 19, 32, 33}: signal.signal(s, signal.SIG_IGN)\n"
        "time.sleep(10**6)",
        "import os, time\nfor fd in range(64):\n  try: os.close(fd)\n  except OSError: pass\ntime.sleep(10**6)",
        "import threading, time\nthreading.Thread(target=time.sleep, args=(10**6,)).start()",
    ],
    ids=["sleep", "loop", "deaf", "closed", "thread"],
)
def test_a_program_that_does_not_end_is_ended(sandbox, program):
    assert sandbox.run_python(program, limits=Limits(wall_seconds=1.0)).outcome == "timeout"


def test_the_processor_is_bounded_apart_from_the_clock(sandbox):
    assert sandbox.run_python("while True: pass", limits=Limits(wall_seconds=60, cpu_seconds=1)).outcome == "timeout"


def test_all_that_can_be_reached_can_be_deleted_and_that_is_nothing(sandbox, tmp_path):
    canary = tmp_path / "canary"
    canary.write_text("alive")
    tmp_path.chmod(0o777)
    canary.chmod(0o666)
    program = f"""
import os, shutil
for path in ({str(tmp_path)!r}, {str(canary)!r}):
    for action in (os.unlink, os.rmdir, shutil.rmtree, os.utime, lambda path: os.truncate(path, 0),
                   lambda path: os.chmod(path, 0), lambda path: open(path, 'w'),
                   lambda path: os.rename(path, path + 'x')):
        try: action(path)
        except OSError: pass
for root in os.listdir('/'):
    shutil.rmtree('/' + root, ignore_errors=True)
import math, json, zoneinfo
"""
    before = canary.stat()
    sandbox.run_python(program)
    after = canary.stat()
    assert canary.read_text() == "alive"
    assert (after.st_mode, after.st_mtime) == (before.st_mode, before.st_mtime)
    assert sandbox.run_python("import json, math, xml.dom.minidom").passed


def test_nothing_of_the_machine_can_be_read(sandbox, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    tmp_path.chmod(0o777)
    places = ["/etc/shadow", "/etc/passwd", "/etc/hostname", str(secret), "/proc/self/environ", "/proc/1/environ"]
    folders = [str(tmp_path), str(Path.home()), str(Path(__file__).parent), "/etc", "/proc", "/sys", "/var", "/home"]
    program = f"""
import os
for path in {places}:
    attempt(lambda: open(path).read())
for path in {folders}:
    attempt(lambda: open(os.path.join(path, os.listdir(path)[0])).read())
attempt(lambda: open(os.path.relpath({str(secret)!r})).read())
attempt(lambda: open('/tmp/../..' + {str(secret)!r}).read())
"""
    printed = sandbox.run_python(TRY + program)
    assert printed.passed
    assert "DONE" not in printed.stdout
    assert "hunter2" not in printed.stdout


def test_links_lead_nowhere(sandbox, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text("hunter2")
    program = f"""
import os
for make in (os.symlink, os.link):
    try: make({str(secret)!r}, 'link')
    except OSError: pass
    attempt(lambda: open('link').read())
    attempt(lambda: open('link', 'w').write('x'))
    try: os.unlink('link')
    except OSError: pass
"""
    printed = sandbox.run_python(TRY + program).stdout
    assert "hunter2" not in printed
    assert secret.read_text() == "hunter2"
    assert "DONE" not in printed or writes_files(sandbox)


def test_nothing_can_be_written_but_into_the_folder_that_vanishes(sandbox):
    name = f"canary-{secrets.token_hex(8)}"
    program = f"""
import os, sys
for folder in ('/', '/usr/lib', '/lib', '/dev', '/etc', '/dev/shm', '/var/tmp', os.path.dirname(os.__file__)):
    attempt(lambda: open(folder + '/{name}', 'w').write('x'))
    attempt(lambda: os.mkdir(folder + '/{name}'))
attempt(lambda: open(os.__file__, 'a').write('x'))
"""
    assert "DONE" not in sandbox.run_python(TRY + program).stdout
    here = sandbox.run_python(f"open('{name}', 'w').write('x'); print(open('{name}').read())")
    assert here.passed is writes_files(sandbox)
    assert not Path("/tmp", name).exists()
    assert not sandbox.run_python(f"open('{name}')").passed


def test_the_disk_cannot_be_filled(sandbox):
    program = """
import os
written = 0
try:
    for number in range(1000):
        with open(f'file{number}', 'wb') as file:
            for _ in range(100):
                written += file.write(bytes(10**6))
                file.flush()
except OSError as error:
    print(written, type(error).__name__)
"""
    written, error = sandbox.run_python(program, limits=Limits(file_bytes=4 * MIB)).stdout.split()
    assert int(written) <= 4 * MIB
    assert error in ("OSError", "PermissionError")


def test_there_is_no_network_and_no_socket_of_another_kind(sandbox, tmp_path):
    with socket.socket() as listener, socket.socket(socket.AF_UNIX) as abstract:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        name = f"\0avengers-{secrets.token_hex(8)}"
        abstract.bind(name)
        abstract.listen()
        listener.setblocking(False)
        abstract.setblocking(False)
        program = f"""
import socket
def connect(family, address):
    with socket.socket(family) as one:
        one.settimeout(1)
        one.connect(address)
attempt(lambda: connect(socket.AF_INET, ('127.0.0.1', {listener.getsockname()[1]})))
attempt(lambda: connect(socket.AF_UNIX, {name!r}))
attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('127.0.0.1', 53)))
attempt(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW))
attempt(lambda: socket.socket(socket.AF_INET6))
attempt(lambda: socket.create_connection(('192.0.2.1', 80), 1))
"""
        printed = sandbox.run_python(TRY + program)
        assert printed.passed
        assert "DONE" not in printed.stdout
        for waiting in (listener, abstract):
            with pytest.raises(BlockingIOError):
                waiting.accept()


@pytest.mark.parametrize("kind", ["SOCK_STREAM", "SOCK_DGRAM"])
def test_a_pair_of_sockets_speaks_to_itself_and_to_nobody_else(sandbox, tmp_path, kind):
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        name = f"\0{secrets.token_hex(8)}"
        listener.bind(name)
        execution = sandbox.run_python(
            TRY
            + f"""
import socket
one, other = socket.socketpair(socket.AF_UNIX, socket.{kind})
one.send(b"to itself")
print(other.recv(9))
attempt(lambda: one.sendto(b"out", {name!r}))
attempt(lambda: one.connect({name!r}))
attempt(lambda: one.sendmsg([b"out"], [], 0, {name!r}))
attempt(lambda: one.bind({name + "x"!r}))
"""
        )
        listener.setblocking(False)
        with pytest.raises(BlockingIOError):
            listener.recv(9)
    assert execution.stdout.splitlines() == ["b'to itself'", *["refused PermissionError"] * 4], execution.stderr


def test_threads_can_be_started_by_a_user_who_runs_many(sandbox):
    over = threading.Event()
    others = [threading.Thread(target=over.wait, daemon=True) for _ in range(64)]
    for each in others:
        each.start()
    try:
        source = "import threading\none = threading.Thread(target=print, args=('ran',))\none.start()\none.join()"
        assert sandbox.run_python(source).stdout == "ran\n"
    finally:
        over.set()


def test_nobody_can_be_signalled(sandbox):
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as bystander:
        program = f"""
import os, signal
for pid in ({os.getpid()}, {bystander.pid}, os.getppid(), -1, 0, 1, *range(2, 3000)):
    if pid != os.getpid():
        try: os.kill(pid, signal.SIGKILL)
        except OSError: pass
print('here')
"""
        execution = sandbox.run_python(program)
        assert (execution.outcome, execution.stdout) == ("passed", "here\n")
        assert bystander.poll() is None
        bystander.kill()


def test_a_program_cannot_have_others_killed_in_its_place(sandbox):
    """Whatever it writes to whatever is open, only its own process is ended."""
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"]) as bystander:
        program = f"""
import os, time
for fd in range(3, 64):
    try: os.write(fd, b'{{"child-pid": {bystander.pid}}}\\n')
    except OSError: pass
time.sleep(600)
"""
        assert sandbox.run_python(program, limits=Limits(wall_seconds=1.5)).outcome == "timeout"
        time.sleep(0.2)
        assert bystander.poll() is None
        bystander.kill()


def test_nothing_is_open_but_the_three_streams_the_word_and_the_report(sandbox):
    program = """
import os
def is_open(number):
    try: return bool(os.fstat(number))
    except OSError: return False
print(sum(map(is_open, range(64))))
"""
    assert sandbox.run_python(program).stdout == "5\n"


def test_a_program_that_kills_itself_is_told_from_one_that_fails(sandbox):
    execution = sandbox.run_python("import ctypes\nctypes.string_at(0)")
    assert (execution.outcome, execution.exit_code) == ("killed", 128 + signal.SIGSEGV)


def test_privileges_are_gone_and_cannot_be_had_again(sandbox):
    program = """
import ctypes, os
libc = ctypes.CDLL(None, use_errno=True)
calls = {
    'unshare user': lambda: libc.unshare(0x10000000),
    'unshare mounts': lambda: libc.unshare(0x20000),
    'mount': lambda: libc.mount(b'none', b'/tmp', b'tmpfs', 0, None),
    'umount': lambda: libc.umount2(b'/tmp', 2),
    'chroot': lambda: libc.chroot(b'/tmp'),
    'ptrace': lambda: libc.ptrace(16, os.getppid() or 1, 0, 0),
    'setuid': lambda: libc.setresuid(0, 0, 0) if os.getuid() else -1,
    'clone': lambda: libc.syscall(56, 17, 0, 0, 0, 0),
    'clone3': lambda: libc.syscall(435, (ctypes.c_uint64 * 8)(0, 0, 0, 0, 17), 64),
    'socket': lambda: libc.syscall(41, 2, 1, 0),
    'io_uring': lambda: libc.syscall(425, 8, (ctypes.c_char * 120)()),
    'open_tree': lambda: libc.syscall(428, -100, b'/', 1),
    'pidfd': lambda: libc.syscall(434, os.getppid() or 1, 0),
    'bpf': lambda: libc.syscall(321, 0, 0, 0),
    'keys': lambda: libc.syscall(250, 0, -3, 1),
    'nice': lambda: libc.setpriority(2, 0, 5),
    'limits': lambda: libc.prlimit(os.getppid() or 1, 7, None, (ctypes.c_uint64 * 2)()),
    'orphan': lambda: libc.prctl(1, 0, 0, 0, 0),
    'shared memory': lambda: libc.shmget(1, 4096, 0o1600),
}
print(*[name for name, call in calls.items() if call() >= 0])
"""
    execution = sandbox.run_python(program)
    assert execution.passed, execution.stderr
    assert execution.stdout.split() == []


def test_the_second_table_of_system_calls_is_closed(sandbox):
    """On x86-64 the same calls have other numbers in x32; where the kernel has none the program goes on."""
    if os.uname().machine != "x86_64":
        pytest.skip("this processor has one table")
    execution = sandbox.run_python("import ctypes\nprint(ctypes.CDLL(None).syscall(0x40000000 + 41, 2, 1, 0))")
    assert execution.outcome == "killed"


def test_bytes_that_are_no_text_are_replaced(sandbox):
    execution = sandbox.run_python(r"import sys; sys.stdout.buffer.write(b'a\xff\x00b')")
    assert (execution.outcome, execution.stdout) == ("passed", "a�\x00b")


@pytest.mark.parametrize("source", ["print(1)\0print(2)", "x = '\ud800'"])
def test_a_source_that_is_no_text_fails(sandbox, source):
    assert sandbox.run_python(source).outcome == "failed"


def test_a_program_can_be_large(sandbox):
    assert sandbox.run_python("x = '" + "y" * (2 * MIB) + "'; print(len(x))").stdout == f"{2 * MIB}\n"


def test_several_threads_run_programs_at_a_time(sandbox):
    with ThreadPoolExecutor(4) as pool:
        printed = list(pool.map(lambda number: sandbox.run_python(f"print({number})").stdout, range(12)))
    assert printed == [f"{number}\n" for number in range(12)]


def test_no_file_stays_open(sandbox):
    before = len(list(Path("/proc/self/fd").iterdir()))
    for source in ("pass", "while True: print(1)"):
        sandbox.run_python(source)
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_an_interrupt_ends_the_program(sandbox):
    main = threading.main_thread().ident
    timer = threading.Timer(0.7, lambda: signal.pthread_kill(main, signal.SIGINT))
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    timer.start()
    try:
        with pytest.raises(KeyboardInterrupt):
            sandbox.run_python("import time; time.sleep(600)", limits=Limits(wall_seconds=60))
    finally:
        timer.cancel()
        signal.signal(signal.SIGINT, previous)
    assert leftovers() == []


def test_a_program_dies_with_the_process_that_wanted_it(sandbox):
    name = sandbox._mechanism.name
    outer = f"""
import os, threading, time
from avengers_edge.sandbox.execution import Limits
from avengers_edge.sandbox.linux import Sandbox, candidates
sandbox = Sandbox(next(each for each in candidates() if each.name == {name!r}))
threading.Timer(2, os.kill, [os.getpid(), 9]).start()
print(os.getpid(), flush=True)
sandbox.run_python("import time; time.sleep(600)", limits=Limits(wall_seconds=100))
"""
    with subprocess.Popen([sys.executable, "-c", outer], stdout=subprocess.PIPE, text=True) as process:
        number = int(process.stdout.readline())
        process.wait()
    until = time.monotonic() + 10
    while time.monotonic() < until:
        left = [
            entry
            for entry in Path("/proc").glob("[0-9]*")
            if f"\0{number}\0".encode() in _words(entry) and b"sandbox.inside" in _words(entry)
        ]
        if not left:
            return
        time.sleep(0.05)
    pytest.fail(f"{left} outlived the process that wanted them")


def _words(entry):
    try:
        return (entry / "cmdline").read_bytes()
    except OSError:
        return b""


def test_where_the_system_lends_namespaces_ours_work():
    """Else all laws above could be skipped where they matter."""
    words = ["unshare", "--mount", "--pid", "--net", "--fork"] + ([] if os.geteuid() == 0 else ["--user"])
    try:
        lent = subprocess.run([*words, "true"], capture_output=True, check=False).returncode == 0
    except FileNotFoundError:
        lent = False
    if not lent or not candidates():
        pytest.skip("this system lends no namespaces")
    (ours,) = [each for each in candidates() if each.name == "namespaces"]
    assert Sandbox(ours).run_python("print(1)").stdout == "1\n"


def test_a_mechanism_that_does_not_work_is_an_error_of_ours():
    broken = Mechanism("bubblewrap", "nothing", "/nonexistent/bwrap")
    with pytest.raises(NoSandbox, match=r"cannot be started .*install bubblewrap"):
        Sandbox(broken).run_python("pass")
    with pytest.raises(NoSandbox, match="does not work here"):
        Sandbox(Mechanism("bubblewrap", "nothing", "/bin/false")).run_python("pass")


def test_where_nothing_works_the_message_says_what_would(monkeypatch):
    monkeypatch.setattr(linux, "candidates", lambda: [Mechanism("bubblewrap", "nothing", "/bin/false")])
    with pytest.raises(NoSandbox, match=r"does not work here.*install bubblewrap") as refused:
        Sandbox.find()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_other_systems_are_refused(monkeypatch, platform):
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(NoSandbox, match=f"not run on {platform}: use Linux"):
        Sandbox.find()
