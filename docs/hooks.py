"""What MkDocs does beyond its plugins: pages from elsewhere in the repository, pages made of code, nothing loaded.

One address works in both places: a page links to a file as it lies in the repository, which GitHub shows, and the site
turns the link to its own copy or to the repository. A link to a file that is not there ends a strict build.
"""

from __future__ import annotations

import logging
import posixpath
import re
import sys
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
LOG = logging.getLogger("mkdocs.hooks.repository")
#: Files outside docs/ that the site shows, too, and where.
MOUNTED = {
    "CHANGELOG.md": "project/changelog.md",
    "CODE_OF_CONDUCT.md": "project/code-of-conduct.md",
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "SUPPORT.md": "project/support.md",
    "NoduleRiskLib/Models/lidc-native/README.md": "figures/model-card.md",
    "Testing/benchmark/RESULTS.md": "figures/speed.md",
    "training/RESULTS.md": "figures/training.md",
    **{f"Resources/{path.name}": f"Resources/{path.name}" for path in (ROOT / "Resources").glob("*.png")},
}
BACK = {there: here for here, there in MOUNTED.items()}
LINK = re.compile(r"(?<!`)(\]\(<?)([^)\s>#]+)(#[^)\s>]*)?(>?\))")
CODE = re.compile(r"(^ *```.*?^ *```|`[^`\n]*`)", re.DOTALL | re.MULTILINE)
OUTSIDE = re.compile(
    r'<(?:script|img|iframe|source)\b[^>]*\bsrc="(?:https?:)?//[^"]*"'
    r'|<link\b(?=[^>]*\brel="?(?:stylesheet|preconnect|preload|icon))[^>]*\bhref="(?:https?:)?//[^"]*"'
)


def repository() -> str:
    """Where the code is, as pyproject.toml says."""
    found = re.search(r'^Repository = "(.+)"$', (ROOT / "pyproject.toml").read_text(encoding="utf-8"), re.MULTILINE)
    assert found, "pyproject.toml has no project.urls.Repository"
    return found[1]


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Take the addresses from pyproject.toml, and code from this checkout."""
    sys.path.insert(0, str(ROOT))
    owner, name = repository().split("/")[-2:]
    config.site_url = f"https://{owner}.github.io/{name}/"
    # Not `repo_url`: with it Material asks GitHub for stars whenever a page is opened.
    config.extra["social"] = [{"icon": "fontawesome/brands/github", "link": repository(), "name": "Repository"}]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add what lies elsewhere, and the notebooks."""
    for here, there in MOUNTED.items():
        files.append(File.generated(config, there, abs_src_path=str(ROOT / here)))
    made: dict[str, str | bytes] = {}
    for notebook in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        made |= from_notebook(notebook)
    for there, content in made.items():
        files.append(File.generated(config, there, content=content))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Fill in what is made of code; turn links to files of the repository to the site's own copies, or to it."""
    for name, make in {"commands": command_line, "columns": columns}.items():
        if (mark := f"<!-- made: {name} -->") in markdown:
            markdown = markdown.replace(mark, make())
    own = page.file.src_uri
    source = BACK.get(own, f"docs/{own}")

    def turned(match: re.Match[str]) -> str:
        begin, target, anchor, end = match.groups()
        if re.match(r"[a-z]+:", target):
            return match[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if not (ROOT / path).exists():
            # Made here, or not there at all: MkDocs says so.
            return match[0]
        return f"{begin}{address(path, own)}{anchor or ''}{end}"

    parts = CODE.split(markdown)
    parts[::2] = [LINK.sub(turned, part) for part in parts[::2]]
    return "".join(parts)


def address(path: str, page: str) -> str:
    """Where a page of the site finds a file of the repository."""
    if path in MOUNTED:
        return posixpath.relpath(MOUNTED[path], posixpath.dirname(page))
    if path.startswith("docs/"):
        inside = path.removeprefix("docs/")
        if (ROOT / path).is_dir():
            inside += "/README.md"
        if inside.endswith(".ipynb"):
            inside = inside.removesuffix(".ipynb") + ".md"
        if (ROOT / path).suffix != ".py":
            return posixpath.relpath(inside, posixpath.dirname(page))
    kind = "tree" if (ROOT / path).is_dir() else "blob"
    return f"{repository()}/{kind}/main/{path}"


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Warn, and so end a strict build, where a page would load something from elsewhere."""
    for found in OUTSIDE.findall(output):
        LOG.warning("%s loads from outside: %s", page.file.src_uri, found)
    return output


def command_line() -> str:
    """The commands with their options, from the program's own help."""
    import typer

    from NoduleRiskLib.cli.commands import app

    program: Any = typer.main.get_command(app)
    lines = [str(program.help)]
    for name, command in program.commands.items():
        if command.hidden:
            continue
        arguments = [one for one in command.params if one.param_type_name == "argument"]
        options = [one for one in command.params if one.param_type_name == "option"]
        usage = " ".join(["nodulerisk", name, *("[OPTIONS]" if options else "",), *map(_metavar, arguments)])
        lines += ["", f"## nodulerisk {name}", "", f"```text\n{usage}\n```", "", str(command.help), ""]
        lines += ["| argument or option | what | default |", "| --- | --- | --- |"]
        lines += [_line(one) for one in (*arguments, *options)]
    return "\n".join(lines) + "\n"


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name).upper().strip("{}[]")


def _line(one: Any) -> str:
    if one.param_type_name == "argument":
        names = f"`{_metavar(one)}`"
    else:
        # Without a name of its own, the value is called after the option.
        value = "" if one.is_flag else f" {one.metavar or one.name.rstrip('_').upper()}"
        names = ", ".join(f"`{name}{value}`" for name in (*one.opts, *one.secondary_opts))
    default = "" if one.default in (None, (), [], False) else _default(one)
    return f"| {names} | {_cell(one.help or '')} | {'required' if one.required else default} |"


def _default(one: Any) -> str:
    value = one.default
    if isinstance(value, Path) and ROOT in value.parents:
        return "the package that ships"
    if value is True:
        return f"`{one.opts[0]}`"
    return f"`{getattr(value, 'value', value)}`"


def _cell(text: str) -> str:
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def columns() -> str:
    """The columns, from the list from which the tables are written."""
    from NoduleRiskLib.results import tables

    lines = ["| column | kind | what |", "| --- | --- | --- |"]
    # Those that name the CT stand in files, behind the others.
    for one in (*tables.COLUMNS, *tables.CT_COLUMNS):
        kind = ("text" if one.text else "number") + (", may be empty" if one.optional else "")
        lines.append(f"| `{one.name}` | {kind} | {_cell(one.meaning)} |")
    return "\n".join(lines) + "\n"


def from_notebook(path: Path) -> dict[str, str | bytes]:
    """A page with the notebook's text, code and committed outputs, and its pictures."""
    import nbformat
    from nbconvert import MarkdownExporter

    body, resources = MarkdownExporter().from_notebook_node(nbformat.read(path, as_version=4))
    # Two pages may have pictures of one name.
    pictures = {f"notebooks/{path.stem}-{name}": data for name, data in resources["outputs"].items()}
    for name in resources["outputs"]:
        body = body.replace(f"]({name})", f"]({path.stem}-{name})")
    # pandas brings a style of its own for each table; the site's is meant for tables without a class.
    body = re.sub(r"<style scoped>.*?</style>\n?", "", body, flags=re.DOTALL)
    body = body.replace('<table border="1" class="dataframe">', "<table>")
    origin = f"*This page is the notebook [{path.name}]({repository()}/blob/main/docs/notebooks/{path.name}).*\n"
    title, _, rest = body.partition("\n")
    return {f"notebooks/{path.stem}.md": f"{title}\n\n{origin}{rest}", **pictures}
