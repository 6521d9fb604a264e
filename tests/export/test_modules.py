"""ES modules are joined to one script that any page can carry."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from lookalike.export.modules import join_modules

NODE = shutil.which("node")


def write(folder: Path, **modules: str) -> Path:
    for name, source in modules.items():
        (folder / f"{name}.js").write_text(source)
    return folder / "main.js"


def test_joined_modules_keep_their_names_apart_and_run_once(tmp_path):
    if NODE is None:
        pytest.skip("needs node")
    entry = write(
        tmp_path,
        main='import { value as first, count } from "./first.js";\n'
        'import * as second from "./second.js";\n'
        'const value = "main";\n'
        "console.log(JSON.stringify([value, first, second.value(), count()]));\n",
        first='import { add } from "./counter.js";\n'
        "add();\n"
        'export const value = "first";\n'
        "export const count = () => add() - 1;\n",
        second='import {\n  add,\n} from "./counter.js";\nadd();\n'
        'export function value() {\n  return "second";\n}\n',
        counter="let count = 0;\nexport function add() {\n  count += 1;\n  return count;\n}\n",
    )
    output = subprocess.run(
        [NODE, "-e", join_modules(entry)], check=True, capture_output=True, text=True
    ).stdout
    assert json.loads(output) == ["main", "first", "second", 2]


def test_circular_imports_are_refused(tmp_path):
    entry = write(
        tmp_path,
        main='import { a } from "./a.js";\n',
        a='import { b } from "./main.js";\n',
    )
    with pytest.raises(ValueError, match=r"main.js -> a.js -> main.js"):
        join_modules(entry)


@pytest.mark.parametrize(
    "line",
    [
        "export default 1;",
        'import "./a.js";',
        'export { a } from "./a.js";',
        'const end = "</script>";',
    ],
)
def test_other_forms_are_refused(tmp_path, line):
    with pytest.raises(ValueError, match=r"main\.js"):
        join_modules(write(tmp_path, main=f"{line}\n", a="\n"))
