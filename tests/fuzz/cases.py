"""What fuzz targets share: how many cases, ways to spoil a value or a file, and what may come of a case."""

import contextlib
import copy
import io
import os
import signal

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st

from bertbench import cli
from bertbench.errors import BertBenchError

CASES = int(os.environ.get("BERTBENCH_FUZZ_CASES", "200"))
SECONDS = 5.0  # of a case, of computing
WAITING_SECONDS = 60.0  # in all: other work may take the machine
MOST_BYTES = 2**20  # of a spoilt file
EXIT_CODES = frozenset({0, 1, 2, 3, 4})

# Cases are not kept, since they are made anew from the seed; a case's own clock ends what hangs, which `deadline` does not.
fuzzed = settings(
    max_examples=CASES,
    database=None,
    deadline=None,
    print_blob=True,
    phases=(
        Phase.explicit,
        Phase.generate,
        Phase.shrink,
    ),  # to explain a failure it would trace every line, which takes time
    suppress_health_check=list(HealthCheck),
)

EVIL = "=1+1 \x1b[31mR\x1b]8;;http://x\x07L\x85\x9b31m\u202eX\rY\n::error::Z\t[red]\ufeff <b>"
ODD = (
    0, -1, 1, 1.5, 2**31, 2**63, 2**64, 10**30, 10**400, 1e308, -1e308, 5e-324, -0.0, float("inf"), float("nan"), "", " ", "..",
    "../../outside", "/etc/passwd", "a/b", "a\\b", "con", "\0", "\n", "\ud800", "x" * 3000, EVIL, "nan", "1e999", "all", "run:x", "no",
    "2026-11-30", None, True, False, [], {}, [[]], {"": None}, {"a": {"a": 1}}, [None], ["x", 1], [1e300] * 3, "é", "=1+1",
)  # fmt: skip
odd_values = st.one_of(
    st.sampled_from(ODD), st.text(max_size=12), st.integers(), st.floats(), st.lists(st.integers(-9, 9), max_size=3)
)
ACTIONS = ("replace", "replace", "replace", "remove", "rename", "repeat", "swap", "wrap", "copy")
edits_of_values = st.lists(
    st.tuples(st.integers(0, 2**16), st.sampled_from(ACTIONS), odd_values), min_size=1, max_size=4
)

TOKENS = (
    b"{", b"}", b"[", b"]", b'"', b"'", b",", b":", b"\n", b"\r", b"\t", b"\\", b"\0", b"\xff", b"\xef\xbb\xbf", b"\xff\xfe", b"&a ", b"*a",
    b"- ", b": ", b"? ", b"| ", b"> ", b"!!python/object/apply:os.system ", b"!!binary ", b"!!set ", b"<<: ", b"---\n", b"...\n", b"%YAML 9.9\n",
    b"#", b"1e999", b"-1", b"NaN", b"null", b"true", b"0o17", b"1:30", b"2026-11-30", b"\\ud800", b"\xc2\x85", b"\xe2\x80\xa8", b"=1+1", b"\x1b[31m",
)  # fmt: skip
edits_of_bytes = st.lists(
    st.tuples(
        st.integers(0, 2**24),
        st.sampled_from(("put", "insert", "insert", "remove", "repeat", "cut")),
        st.one_of(st.sampled_from(TOKENS), st.binary(min_size=1, max_size=8)),
    ),
    min_size=1,
    max_size=6,
)


def _spots(value):
    """Every container and key in a value."""
    if isinstance(value, dict | list):
        for key in list(value) if isinstance(value, dict) else range(len(value)):
            yield value, key
            yield from _spots(value[key])


def _rename(container, key, value):
    if isinstance(container, dict):
        container[value if isinstance(value, str) else repr(value)] = container.pop(key)
    else:
        container.reverse()


def spoilt(value, edits):
    """The same value with something somewhere replaced, taken out, renamed, repeated, nested or taken from elsewhere in it."""
    value = copy.deepcopy(value)
    for number, action, odd in edits:
        spots = list(_spots(value))
        if not spots:
            return value
        container, key = spots[number % len(spots)]
        old, new = container[key], copy.deepcopy(odd)  # a later edit must not change what other cases get
        if action == "remove":
            del container[key]
        elif action == "rename":
            _rename(container, key, new)
        elif action == "repeat":
            container[key] = old * 3 if isinstance(old, str | list) else [old] * 3
        elif action == "wrap":
            container[key] = {"a": [old]} if number % 2 else [old]
        elif action in {"swap", "copy"}:
            other, there = spots[(number * 7 + 1) % len(spots)]
            container[key] = copy.deepcopy(other[there])
        else:
            container[key] = new
    return value


def spoilt_bytes(content, edits):
    """The same bytes with some put over others, inserted, taken out, repeated or cut off."""
    for number, action, new in edits:
        at = number % (len(content) + 1)
        length = number // 7 % 40 + 1
        if action == "put":
            content = content[:at] + new + content[at + len(new) :]
        elif action == "insert":
            content = content[:at] + new + content[at:]
        elif action == "remove":
            content = content[:at] + content[at + length :]
        elif action == "repeat":
            content = content[:at] + content[at : at + length] * (len(new) ** 2) + content[at + length :]
        else:
            content = content[:at]
    return content[:MOST_BYTES]


def is_yaml(value):
    """Tell whether a value can be written as YAML at all: texts without half characters."""
    if isinstance(value, dict):
        return all(is_yaml(part) for entry in value.items() for part in entry)
    if isinstance(value, list | tuple):
        return all(map(is_yaml, value))
    return not isinstance(value, str) or value.isascii() or "\ud800" not in value


class HangError(BaseException):
    """A case took too long; no `except Exception` takes it for an error."""


@contextlib.contextmanager
def in_time():
    """Break off what computes, or waits, for too long."""
    raised = []

    def stop(_, frame):
        # Hypothesis' own callbacks cannot take an error; the clock strikes again soon.
        if not raised and "hypothesis" not in frame.f_code.co_filename:
            raised.append(True)
            raise HangError

    clocks = ((signal.SIGPROF, signal.ITIMER_PROF, SECONDS), (signal.SIGALRM, signal.ITIMER_REAL, WAITING_SECONDS))
    before = [(number, signal.signal(number, stop)) for number, _, _ in clocks]
    for _, timer, seconds in clocks:
        signal.setitimer(timer, seconds, 0.1)
    try:
        yield
    except HangError as error:
        raise AssertionError("a case took too long") from error  # hypothesis shows the case of no other
    finally:
        for _, timer, _ in clocks:
            signal.setitimer(timer, 0)
        for number, handler in before:
            signal.signal(number, handler)


def state_of(root, free):
    """What lies below a folder and how it is, but for one folder that may change."""
    facts = {}
    with os.scandir(root) as entries:
        for entry in entries:
            if entry.path == str(free):
                continue
            status = entry.stat(follow_symlinks=False)
            facts[entry.path] = (status.st_ino, status.st_mode, status.st_size, status.st_mtime_ns)
            if entry.is_dir(follow_symlinks=False):
                # A folder's own date changes with what may change in it.
                facts[entry.path] = facts[entry.path][:2]
                facts |= state_of(entry.path, free)
    return facts


class Yard:
    """A folder of the user's, in which one part may be written and everything else has to stay as it is."""

    def __init__(self, root):
        self.root = root
        self.free = root / "work"
        for name in ("work", "home", "victim"):
            (root / name).mkdir()
        for path in (root / "precious.json", root / "victim" / "package.json", root / "home" / "notes.txt"):
            path.write_text("mine")
        os.utime(root / "victim" / "package.json", (0, 0))
        self.before = state_of(root, self.free)

    @contextlib.contextmanager
    def case(self):
        """Run a case in time; nothing outside of the free part may have changed at its end."""
        with in_time():
            yield self.free
        assert state_of(self.root, self.free) == self.before


def tried(action, *arguments):
    """What an action returns, or None if it ends in an error of the user's; `run` sees whether that is shown as one line."""
    try:
        return action(*arguments)
    except BertBenchError:
        return None


def run(*arguments):
    """The exit code of a command; what it says is one line if it is an error, and never a traceback."""
    out, err = io.TextIOWrapper(io.BytesIO(), "utf-8"), io.TextIOWrapper(io.BytesIO(), "utf-8")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(list(map(str, arguments)))
    out.flush()
    err.flush()
    told = err.buffer.getvalue().decode()
    assert code in EXIT_CODES, (code, told)
    assert "Traceback" not in told
    if code == 2 and "Error" in told:
        assert told.count("\nError: ") + told.startswith("Error: ") == 1, told
    return code


def yaml_text(value):
    """A value as YAML."""
    import yaml

    return yaml.safe_dump(value, allow_unicode=True, sort_keys=False)


def packaged(folder, ending):
    """The packaged configs of a kind."""
    from bertbench.specs.catalog import packaged_folder

    return sorted((packaged_folder() / folder).glob(f"*{ending}"))
