"""The tree keeps its layers, single homes, sizes and tables; and each of these checks can fail."""

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
import tidiness

ROOT = Path(__file__).parents[1]
CPP = (".cpp", ".hpp", ".cu", ".cuh")
PYTHON = (".py",)
Check = Callable[[str, str], Iterable[str]]


def sources(folders: Iterable[str], suffixes: tuple[str, ...]) -> Iterator[tuple[str, str]]:
    """Path and text of our own files; links and what Python compiled (a built tree has some) are
    left out."""
    for folder in folders:
        for where, inside, names in os.walk(ROOT / folder):
            inside[:] = [name for name in inside if name != "__pycache__"]
            for name in sorted(names):
                path = Path(where, name)
                if name.endswith(suffixes) and not path.is_symlink():
                    text = "" if path.suffix == ".so" else path.read_text(encoding="utf-8")
                    yield path.relative_to(ROOT).as_posix(), text


def problems(check: Check, folders: Iterable[str], suffixes: tuple[str, ...]) -> list[str]:
    files = list(sources(folders, suffixes))
    assert files, f"no {suffixes} under {folders}: is the check looking at the right place?"
    return [problem for path, text in files for problem in check(path, text)]


def hold(check: Check, folders: Iterable[str], suffixes: tuple[str, ...]) -> None:
    found = problems(check, folders, suffixes)
    assert not found, "\n" + "\n".join(found)


def test_cpp_includes_follow_the_layers() -> None:
    hold(tidiness.cpp_layer_problems, ["csrc", "kernels"], CPP)


def test_what_has_a_home_in_cpp_is_nowhere_else() -> None:
    hold(tidiness.cpp_home_problems, ["csrc", "kernels"], CPP)


def test_headers_begin_with_what_they_are() -> None:
    hold(tidiness.header_problems, ["csrc", "kernels"], CPP)


def test_python_imports_follow_the_layers() -> None:
    hold(tidiness.python_layer_problems, ["python", "kernels"], PYTHON)


def test_only_config_reads_the_environment() -> None:
    hold(tidiness.environment_problems, ["python", "kernels"], PYTHON)


def test_modules_begin_with_what_they_are() -> None:
    hold(tidiness.docstring_problems, ["python", "kernels"], PYTHON)


EVERYWHERE = ["csrc", "kernels", "python", "tests", "bench"]


def test_files_fit_a_sitting_and_functions_a_screen() -> None:
    hold(tidiness.size_problems, EVERYWHERE, (*CPP, ".py", ".pyi"))


def test_file_names_are_nouns() -> None:
    hold(tidiness.name_problems, [*EVERYWHERE, ".ci", "docs"], ("",))


def test_codecs_have_one_id_one_name_and_a_folder_each() -> None:
    definitions = (ROOT / "kernels/codecs/codecs.def").read_text()
    assert not list(tidiness.codec_problems(definitions))
    for _, name in tidiness.codecs_in(definitions):
        folder = ROOT / "kernels/codecs" / name
        there = {path.name for path in folder.glob("*")}
        lacking = {"format.md", "reference.py", "vectors.json", "cpu.cpp"} - there
        assert not lacking, f"{folder.name} lacks {sorted(lacking)}"


def test_every_failure_code_has_its_python_error() -> None:
    from isthmus import errors

    codes = tidiness.codes_in((ROOT / "csrc/base/status.hpp").read_text())
    assert codes
    assert list(errors.by_code) == codes
    assert all(issubclass(error, errors.IsthmusError) for error in errors.by_code.values())
    camel = ["".join(word.title() for word in code.split("_")) for code in codes]
    assert [error.__name__ for error in errors.by_code.values()] == camel


def test_the_stub_lists_what_the_native_module_has() -> None:
    from isthmus import _core

    stub: tidiness.Names = {}
    for name in ("_core.pyi", "_core_testing.pyi"):
        stub |= tidiness.stub_names((ROOT / "python/isthmus" / name).read_text())
    found = list(tidiness.stub_problems(stub, tidiness.native_names(_core)))
    assert not found, "\n" + "\n".join(found)


def test_the_page_of_events_has_every_kind_that_there_is_and_no_other() -> None:
    kinds = [tidiness.event_kinds_in(text) for _, text in sources(["python/isthmus"], PYTHON)]
    page = (ROOT / "docs/events.md").read_text()
    told = tidiness.rows_of_table(page, "| `kind` |")
    assert len(told) > 5 and told == list(dict.fromkeys(told))
    assert set(told) == set().union(*kinds)


def test_every_native_event_has_its_sentence() -> None:
    from isthmus.events import makers

    header = (ROOT / "csrc/session/events.hpp").read_text()
    assert set(makers) == tidiness.native_event_kinds_in(header)


LONG = "  f();\n" * 70
BROKEN: list[tuple[Check, str, str]] = [
    (tidiness.cpp_layer_problems, "csrc/net/tcp.cpp", '#include "mesh/mesh.hpp"\n'),
    (tidiness.cpp_layer_problems, "csrc/net/tcp.cpp", '#include "tcp.hpp"\n'),
    (tidiness.cpp_layer_problems, "csrc/net/tcp.cpp", "#  include <iostream>\n"),
    (tidiness.cpp_layer_problems, "csrc/base/log.cpp", "#include <torch/extension.h>\n"),
    (tidiness.cpp_layer_problems, "csrc/collective/ring.cpp", "#include <thread>\n"),
    (tidiness.cpp_layer_problems, "csrc/collective/ring.cpp", '#include "base/clock.hpp"\n'),
    (tidiness.cpp_layer_problems, "kernels/codecs/f32/cpu.cpp", '#include "base/bytes.hpp"\n'),
    (tidiness.cpp_layer_problems, "kernels/codecs/f32/cpu.cpp", "#include <chrono>\n"),
    (tidiness.cpp_layer_problems, "csrc/cloud/a.cpp", ""),
    (tidiness.cpp_home_problems, "csrc/net/link.cpp", 'auto x = std::getenv("X");\n'),
    (tidiness.cpp_home_problems, "csrc/net/link.cpp", "int e = epoll_create1(0);\n"),
    (tidiness.cpp_home_problems, "csrc/session/work.cpp", "#include <pybind11/pybind11.h>\n"),
    (tidiness.cpp_home_problems, "csrc/mesh/mesh.cpp", "if (bad) throw 1;\n"),
    (tidiness.cpp_home_problems, "kernels/codecs/f32/cpu.cpp", "__builtin_cpu_init();\n"),
    (tidiness.cpp_home_problems, "csrc/net/tcp.cpp", "#include <openssl/ssl.h>\n"),
    (tidiness.header_problems, "csrc/net/a.hpp", "#pragma once\n"),
    (tidiness.header_problems, "csrc/net/a.hpp", "// A: one thing that is explained.\n"),
    (tidiness.python_layer_problems, "python/isthmus/session.py", "import isthmus.hook\n"),
    (tidiness.python_layer_problems, "python/isthmus/session.py", "from . import hook\n"),
    (tidiness.python_layer_problems, "python/isthmus/session.py", "from .hook import f\n"),
    (tidiness.python_layer_problems, "python/isthmus/hook.py", "from isthmus import join\n"),
    (tidiness.python_layer_problems, "python/isthmus/hook.py", "def f():\n  from . import cli\n"),
    (tidiness.python_layer_problems, "python/isthmus/stages/a.py", "from . import b\n"),
    (tidiness.python_layer_problems, "python/isthmus/stages/a.py", "from .b import c\n"),
    (tidiness.python_layer_problems, "python/isthmus/stages/a.py", "import isthmus.stages.b\n"),
    (tidiness.python_layer_problems, "python/isthmus/cloud.py", ""),
    (tidiness.python_layer_problems, "kernels/a.py", "from isthmus.session import S\n"),
    (tidiness.environment_problems, "python/isthmus/hook.py", "import os\nos.environ['X']\n"),
    (tidiness.environment_problems, "python/isthmus/hook.py", "from os import getenv\n"),
    (tidiness.docstring_problems, "python/isthmus/hook.py", "x = 1\n"),
    (tidiness.size_problems, "csrc/net/a.cpp", "int x;\n" * 401),
    (tidiness.size_problems, "csrc/net/a.cpp", "// " + "x" * 98 + "\n"),
    (tidiness.size_problems, "csrc/net/a.cpp", f"namespace n {{\nvoid f() {{\n{LONG}}}\n}}\n"),
    (tidiness.size_problems, "csrc/net/a.hpp", f"class A {{\n  A() : b_{{1}} {{\n{LONG}}}\n}};\n"),
    (
        tidiness.size_problems,
        "csrc/net/a.cpp",
        f"int f() const noexcept {{\nif (x) {{\n{LONG}}}}}\n",
    ),
    (tidiness.size_problems, "tests/a.py", "def f() -> None:\n" + "    g()\n" * 61),
    (tidiness.name_problems, "csrc/net/tcp_utils.cpp", ""),
    (tidiness.name_problems, "python/isthmus/helpers/a.py", ""),
    (tidiness.name_problems, "csrc/mesh/link_manager.hpp", ""),
]

WHOLE: list[tuple[Check, str, str]] = [
    (
        tidiness.cpp_layer_problems,
        "csrc/mesh/mesh.cpp",
        '#include "net/link.hpp"\n#include <map>\n',
    ),
    (tidiness.cpp_layer_problems, "csrc/bind/a.cpp", '#include "wan/loop.hpp"\n'),
    (tidiness.cpp_home_problems, "csrc/net/reactor.cpp", "epoll_wait(a, b, c, d);\n"),
    (tidiness.cpp_home_problems, "csrc/net/tcp.cpp", '// throw\nauto x = "getenv // throw";\n'),
    (tidiness.cpp_home_problems, "csrc/net/tcp.cpp", "auto big = 1'000'000;  // don't throw\n"),
    (tidiness.header_problems, "csrc/net/a.hpp", "// A: one thing, explained.\n#pragma once\n"),
    (tidiness.python_layer_problems, "python/isthmus/hook.py", "from .errors import Refused\n"),
    (tidiness.python_layer_problems, "python/isthmus/wan/a.py", "from .b import c\n"),
    (tidiness.python_layer_problems, "python/isthmus/stages/a.py", "from ..config import c\n"),
    (tidiness.python_layer_problems, "python/isthmus/cli.py", "from isthmus import join\n"),
    (tidiness.python_layer_problems, "kernels/a.py", "from isthmus.kernels.codecs import b\n"),
    (tidiness.environment_problems, "python/isthmus/hook.py", '"""os.environ"""\nimport os\n'),
    (
        tidiness.size_problems,
        "csrc/net/a.cpp",
        f"namespace n {{\n{'void f() {}' + chr(10)}{LONG}}}\n",
    ),
    (
        tidiness.size_problems,
        "csrc/net/a.hpp",
        "struct A {\n" + "  int f() { return 1; }\n" * 70 + "};\n",
    ),
    (tidiness.name_problems, "csrc/mesh/implicit_roster.hpp", ""),
]


@pytest.mark.parametrize(("check", "path", "text"), BROKEN)
def test_a_broken_file_is_found(check: Check, path: str, text: str) -> None:
    assert list(check(path, text))


@pytest.mark.parametrize(("check", "path", "text"), WHOLE)
def test_a_good_file_passes(check: Check, path: str, text: str) -> None:
    assert list(check(path, text)) == []


def test_functions_are_measured_from_their_first_line() -> None:
    text = "int a;\n\ntemplate <class T>\nA::A(T t)\n    : b_{t}, c_{1} {\n  f();\n}\nvoid g() {}\n"
    assert list(tidiness.cpp_functions(text)) == [(3, 5), (8, 1)]


def test_a_codec_id_used_twice_is_found() -> None:
    twice = "ISTHMUS_CODEC(1, f32)\nISTHMUS_CODEC(1, bf16)\n// ISTHMUS_CODEC(2, bf16)\n"
    assert list(tidiness.codec_problems(twice)) == ["codecs.def: id 1 is there twice"]
    assert list(tidiness.codec_problems("")) == ["codecs.def: no codec found"]


def test_codes_are_read_from_the_header() -> None:
    assert tidiness.codes_in("enum class Code : int { ok = 0, timeout, /* x */ late };") == [
        "timeout",
        "late",
    ]


def test_kinds_of_events_are_found_where_they_are_made_and_where_they_are_told() -> None:
    made = 'x = Event(kind="a", text="")\ny = Fault(kind="b")\ndef f():\n  return Event(kind="c")\n'
    assert tidiness.event_kinds_in(made) == {"a", "c"}
    header = "struct Event {\n  enum class Kind {\n    a,  // b, c\n    d,\n  };\n};\n"
    assert tidiness.native_event_kinds_in(header) == {"a", "d"}
    page = "| `z` |\n\n| `kind` | y |\n|---|---|\n| `a` | `b` |\n| `c` | |\nend\n| `d` |\n"
    assert tidiness.rows_of_table(page, "| `kind` |") == ["a", "c"]


def test_a_stub_that_differs_is_found() -> None:
    class Native:
        @property
        def rank(self) -> int:
            return 0

        def close(self) -> None: ...

    class Module:
        Work = Native

        def encode(self) -> None: ...

    native = tidiness.native_names(Module)
    good = (
        "class Work:\n  @property\n  def rank(self): ...\n  def close(self): ...\n"
        "def encode(): ...\n"
    )
    assert not list(tidiness.stub_problems(tidiness.stub_names(good), native))
    for bad in (
        good.replace("rank", "ranks"),
        good.replace("  @property\n", ""),
        good.replace("encode", "decode"),
        good + "x: int\n",
        good.replace("def encode(): ...", ""),
    ):
        assert list(tidiness.stub_problems(tidiness.stub_names(bad), native)), bad
