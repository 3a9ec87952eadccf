"""What tests/test_tidy.py holds the tree to: a check takes a path and a text and gives problems.

A check reads text, never the disk, so that its tests can feed it made-up files.
"""

import ast
import itertools
import re
from collections.abc import Iterator, Mapping

MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 60
MAX_COLUMNS = 100

# C++: a folder of csrc (or a part of kernels) and what it may include.
ARITHMETIC = {"codecs", "dp", "rng"}
CPP_MAY_USE: Mapping[str, set[str]] = {
    **{part: ARITHMETIC for part in ARITHMETIC},
    "base": {"base"},
    "net": {"base", "net"},
    "mesh": {"base", "net", "mesh"},
    "collective": {"base", "net", "collective"} | ARITHMETIC,
    "wan": {"base", "wan"},
    "session": {"base", "net", "mesh", "collective", "session"} | ARITHMETIC,
    "simulation": {"base", "net", "mesh", "collective", "session", "simulation"} | ARITHMETIC,
    "bind": {"base", "net", "mesh", "collective", "session", "wan", "simulation", "bind"}
    | ARITHMETIC,
}
THREADS = r"<(thread|mutex|shared_mutex|condition_variable|future|semaphore|stop_token|atomic)>"
STREAMS = r"<(iostream|fstream|sstream|ostream|istream|iomanip|syncstream|print)>"
CPP_MUST_NOT_INCLUDE: Mapping[str, str] = {
    **{
        part: rf"{THREADS}|<(chrono|ctime|cstdio|filesystem|random|sys/.*|unistd\.h)>"
        for part in ARITHMETIC
    },
    "collective": rf"{THREADS}|<chrono>|\"base/clock\.hpp\"",
}
ANYWHERE_MUST_NOT_INCLUDE = rf"{STREAMS}|[<\"](torch|ATen|c10)/"

# Python: a module may import modules of lower layers, or of its own package; stages no stage.
PYTHON_LAYER: Mapping[str, int] = {
    "_core": 0,
    "kernels": 0,
    "errors": 0,
    "memory": 0,
    "config": 1,
    "arrays": 1,
    "codecs": 1,
    "terms": 1,
    "spans": 1,
    "packing": 2,
    "links": 2,
    "relays": 2,
    "company": 2,
    "events": 3,
    "stats": 4,
    "measure": 3,
    "warm_up": 3,
    "doors": 3,
    "work": 2,
    "follower": 2,
    "streams": 4,
    "seat": 5,
    "epochs": 6,
    "session": 6,
    "stages": 7,
    "pipeline": 8,
    "hook": 9,
    "rejoin": 10,
    "outer": 9,
    "testing": 9,
    "checkpoint": 10,
    "metrics": 10,
    "simulation": 9,
    "wan": 9,
    "page": 9,
    "chaos": 9,
    "doctor": 10,
    "demo": 10,
    "soak": 11,
    "bench": 12,
    "cli": 13,
    "__main__": 14,
    "": 15,  # isthmus/__init__.py: may import all, and no module but the programs imports it
}
MAY_USE_THE_PUBLIC_NAMES = {"demo", "cli", "testing"}

# What has one home: a pattern in C++ code (comments and texts taken out), and where it may stand.
CPP_HOMES: Mapping[str, tuple[str, str]] = {
    "the environment": (r"\b(secure_)?getenv\b|\bsetenv\b|\benviron\b", r"^$"),
    # The emulator is a program of its own, run in a namespace without a reactor.
    "epoll": (r"\bepoll_\w+|<sys/epoll\.h>", r"^csrc/(net/reactor\.cpp|wan/.*)$"),
    "pybind11": (r"\bpybind11\b|\bPyObject\b|<Python\.h>", r"^csrc/bind/"),
    "throw": (r"\bthrow\b", r"^csrc/bind/"),
    "CPU features": (
        r"\b__builtin_cpu_\w+|\b__get_cpuid\w*|<cpuid\.h>|\bgetauxval\b|\btarget_clones\b",
        r"^(kernels/codecs/registry|csrc/net/crc32c)\.cpp$",
    ),
    "OpenSSL": (r"<openssl/|\bSSL_\w+|\bEVP_\w+", r"^csrc/(net/tls|mesh/identity)\.cpp$"),
}
# Python files that may read the environment, and why.
ENVIRONMENT_HOMES: Mapping[str, str] = {
    "python/isthmus/config.py": "the home: ISTHMUS_… become settings here",
    "python/isthmus/bench/job.py": "hands ranks their environment and WAN_SITE",
    "python/isthmus/bench/rank.py": "reads WAN_SITE, names gloo's interface",
    "python/isthmus/bench/training.py": "reads the emulator's WAN_SITE and torchrun's LOCAL_RANK",
    "python/isthmus/demo/site.py": "hands torchrun's ranks their environment",
    "python/isthmus/demo/train.py": "reads torchrun's RANK and LOCAL_RANK",
    "python/isthmus/demo/world.py": "reads the emulator's WAN_SITE and WAN_ADDRS",
}

NOT_A_NOUN = re.compile(r"(^|[_\-.])(utils?|helpers?|managers?|impl|misc|stuff)([_\-.]|$)", re.I)

_CPP_TEXT = re.compile(
    r'//[^\n]*|/\*.*?\*/|R"\(.*?\)"|"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])+\'(?!\w)', re.S
)
_INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]+(<[^>\n]+>|"[^"\n]+")', re.M)


def cpp_code(text: str) -> str:
    """The text without comments, and with empty strings; every line keeps its number."""

    def blank(found: re.Match[str]) -> str:
        kept = "" if found[0].startswith("/") else '""'
        return kept + "\n" * found[0].count("\n")

    includes = _INCLUDE.sub(lambda found: found[0].replace('"', "\0"), text)
    return _CPP_TEXT.sub(blank, includes).replace("\0", '"')


def cpp_folder(path: str) -> str:
    """`codecs` for kernels/codecs/f32/cpu.cpp, `net` for csrc/net/tcp.cpp."""
    return path.split("/")[1]


def cpp_layer_problems(path: str, text: str) -> Iterator[str]:
    folder = cpp_folder(path)
    if folder not in CPP_MAY_USE:
        yield f"{path}: folder {folder} has no layer in tests/tidiness.py"
        return
    for found in _INCLUDE.finditer(text):
        name = found[1]
        if name.startswith('"') and name.strip('"').split("/")[0] not in CPP_MAY_USE[folder]:
            yield f"{path}: {folder} must not include {name}"
        if re.search(CPP_MUST_NOT_INCLUDE.get(folder, r"(?!)"), name):
            yield f"{path}: {folder} must not include {name}"
        if re.search(ANYWHERE_MUST_NOT_INCLUDE, name):
            yield f"{path}: nothing in C++ includes {name}"


def cpp_home_problems(path: str, text: str) -> Iterator[str]:
    code = cpp_code(text)
    for what, (pattern, home) in CPP_HOMES.items():
        found = re.search(pattern, code)
        if found and not re.search(home, path):
            line = code.count("\n", 0, found.start()) + 1
            yield f"{path}:{line}: {found[0]!r}: {what} has another home"


def header_problems(path: str, text: str) -> Iterator[str]:
    if path.endswith(".hpp") and not re.match(r"// \w.{15,}\n", text):
        yield f"{path}: a header begins with a comment that says what the thing is"
    if path.endswith(".hpp") and "#pragma once" not in text:
        yield f"{path}: no #pragma once"


def cpp_functions(text: str) -> Iterator[tuple[int, int]]:
    """First line and number of lines of each function outside any other."""
    code = re.sub(
        r"^[ \t]*#(?:.*\\\n)*.*", lambda m: "\n" * m[0].count("\n"), cpp_code(text), flags=re.M
    )
    at = head_begin = 0
    while found := re.compile(r"[{};]").search(code, at):
        at = found.end()
        head = code[head_begin : found.start()]
        opens_scope = re.search(
            r"\b(namespace|class|struct|enum|union)\b[^()]*$|\bextern\s*\"\"\s*$", head
        )
        if found[0] == "{" and "(" in head and not opens_scope:
            at = _end_of_body(code, found.start())
            begin = head_begin + len(head) - len(head.lstrip())
            yield code.count("\n", 0, begin) + 1, code.count("\n", begin, at) + 1
        head_begin = at


def _end_of_body(code: str, at: int) -> int:
    """The end of the function whose first brace is at `at`.

    Braces of a member's initialiser may come before its body.
    """
    while True:
        depth = 0
        for brace in re.compile(r"[{}]").finditer(code, at):
            depth += 1 if brace[0] == "{" else -1
            if depth == 0:
                break
        else:
            return len(code)
        more = re.compile(r"\s*(?:,[^{};]*)?\{").match(code, brace.end())
        if not more:
            return brace.end()
        at = more.end() - 1


def python_functions(text: str) -> Iterator[tuple[int, int]]:
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.lineno, (node.end_lineno or node.lineno) - node.lineno + 1


def size_problems(path: str, text: str) -> Iterator[str]:
    lines = text.splitlines()
    if len(lines) > MAX_FILE_LINES:
        yield f"{path}: {len(lines)} lines, {MAX_FILE_LINES} are enough"
    for number, line in enumerate(lines, start=1):
        if len(line) > MAX_COLUMNS:
            yield f"{path}:{number}: {len(line)} columns, {MAX_COLUMNS} are enough"
    functions = python_functions if path.endswith((".py", ".pyi")) else cpp_functions
    for line, length in functions(text):
        if length > MAX_FUNCTION_LINES:
            yield f"{path}:{line}: a function of {length} lines, {MAX_FUNCTION_LINES} are enough"


def name_problems(path: str, _text: str) -> Iterator[str]:
    if any(NOT_A_NOUN.search(part) for part in path.split("/")):
        yield f"{path}: the name says nothing; which noun is missing?"


def module_of(path: str) -> str:
    """`stages.clip` for python/isthmus/stages/clip.py; `kernels.a` for kernels/a.py."""
    inner = re.sub(r"^python/isthmus/", "", path)
    return re.sub(r"(/|^)__init__$", "", re.sub(r"\.py$", "", inner)).replace("/", ".")


def python_imports(module: str, is_package: bool, text: str) -> Iterator[tuple[int, str]]:
    """Line and name of every module of ours that a file imports, lazily or not.

    `isthmus.` is left off; `isthmus` itself is the empty name.
    """
    package = module.split(".") if module else []
    if not is_package:
        package = package[:-1]
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            stem = ".".join((["isthmus", *base] if node.level else []) + [node.module or ""])
            stem = stem.strip(".")
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        for name in names:
            if name.split(".")[0] == "isthmus":
                yield node.lineno, name.partition(".")[2]


def python_layer_problems(path: str, text: str) -> Iterator[str]:
    module = module_of(path)
    own = module.split(".")[0]
    if own not in PYTHON_LAYER:
        yield f"{path}: module {own} has no layer in tests/tidiness.py"
        return
    for line, name in python_imports(module, path.endswith("__init__.py"), text):
        other = name.split(".")[0]
        if other not in PYTHON_LAYER:
            other = ""  # a name of the package itself: `from isthmus import join`
        if other == "" and own in MAY_USE_THE_PUBLIC_NAMES:
            continue
        if other == own == "stages" and name.split(".")[:2] != module.split(".")[:2]:
            yield f"{path}:{line}: stages import no stage, yet this imports {name}"
        elif other != own and PYTHON_LAYER[other] >= PYTHON_LAYER[own]:
            yield f"{path}:{line}: {own or 'isthmus'} must not import {name or 'isthmus'}"


def environment_problems(path: str, text: str) -> Iterator[str]:
    if path in ENVIRONMENT_HOMES:
        return
    for node in ast.walk(ast.parse(text)):
        names: list[str] = []
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            names = [node.attr] if node.value.id == "os" else []
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            names = [alias.name for alias in node.names]
        if {"environ", "environb", "getenv", "putenv"}.intersection(names):
            yield f"{path}:{node.lineno}: the environment is read in config.py only"


def docstring_problems(path: str, text: str) -> Iterator[str]:
    tree = ast.parse(text)
    if tree.body and not ast.get_docstring(tree):
        yield f"{path}: a module begins with a docstring that says what it is"


def codes_in(status_header: str) -> list[str]:
    """The failures of csrc/base/status.hpp, in order, without `ok`."""
    found = re.search(r"enum class Code[^{]*\{([^}]*)\}", cpp_code(status_header))
    names = re.findall(r"\w+", re.sub(r"=[^,}]*", "", found[1])) if found else []
    return [name for name in names if name != "ok"]


def event_kinds_in(text: str) -> set[str]:
    """Of the Events that a module makes."""
    calls = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)]
    made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Event"]
    kinds = [each.value for call in made for each in call.keywords if each.arg == "kind"]
    return {str(kind.value) for kind in kinds if isinstance(kind, ast.Constant)}


def native_event_kinds_in(events_header: str) -> set[str]:
    """Of csrc/session/events.hpp."""
    found = re.search(r"enum class Kind[^{]*\{([^}]*)\}", cpp_code(events_header))
    return set(re.findall(r"\w+", found[1])) if found else set()


def rows_of_table(page: str, head: str) -> list[str]:
    """The first cells, without their backticks, of the table whose first row begins so."""
    lines = page[page.index(head) :].splitlines()[2:]
    rows = itertools.takewhile(lambda line: line.startswith("|"), lines)
    return [row.split("|")[1].strip().strip("`") for row in rows]


def codecs_in(definitions: str) -> list[tuple[int, str]]:
    code = cpp_code(definitions)
    return [(int(i), n) for i, n in re.findall(r"ISTHMUS_CODEC\((\d+), *(\w+)\)", code)]


def codec_problems(definitions: str) -> Iterator[str]:
    codecs = codecs_in(definitions)
    if not codecs:
        yield "codecs.def: no codec found"
    for kind, values in (("id", [i for i, _ in codecs]), ("name", [n for _, n in codecs])):
        for value in sorted({v for v in values if values.count(v) > 1}, key=str):
            yield f"codecs.def: {kind} {value} is there twice"


# A stub's or a module's public names: a class is a mapping of its members' kinds.
Names = dict[str, "str | dict[str, str]"]


def public(name: str) -> bool:
    return not name.startswith("_") or name == "__version__"


def _kind(node: ast.stmt) -> Iterator[tuple[str, str]]:
    if isinstance(node, ast.FunctionDef):
        decorators = {ast.unparse(d) for d in node.decorator_list}
        setter = any(d.endswith(".setter") for d in decorators)
        yield node.name, "property" if "property" in decorators or setter else "function"
    elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        yield node.target.id, "value"


def stub_names(stub: str) -> Names:
    names: Names = {}
    for node in ast.parse(stub).body:
        if isinstance(node, ast.ClassDef):
            members = [pair for child in node.body for pair in _kind(child)]
            names[node.name] = {name: kind for name, kind in members if public(name)}
        else:
            names.update(_kind(node))
    return {name: kind for name, kind in names.items() if public(name)}


def native_names(module: object) -> Names:
    def kind(value: object) -> str:
        if isinstance(value, property):
            return "property"
        return "function" if callable(value) else "value"

    names: Names = {}
    for name in filter(public, dir(module)):
        value = getattr(module, name)
        if isinstance(value, type):
            inherited = set(dir(value.__mro__[1]))
            members = [member for member in dir(value) if member not in inherited]
            names[name] = {m: kind(getattr(value, m)) for m in members if public(m)}
        else:
            names[name] = kind(value)
    return names


def stub_problems(stub: Names, native: Names) -> Iterator[str]:
    for name in sorted(stub.keys() | native.keys()):
        if name not in native or name not in stub:
            yield f"{name} is only in the {'stub' if name in stub else 'native module'}"
        elif stub[name] != native[name]:
            yield f"{name}: the stub says {stub[name]}, the native module has {native[name]}"
