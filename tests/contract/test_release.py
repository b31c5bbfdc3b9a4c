"""What is published about the package agrees with itself."""

from __future__ import annotations

import importlib
import re
import tomllib

import retemper

from .discover import ROOT, systems

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CITATION = (ROOT / "CITATION.cff").read_text()


def test_versions_agree():
    assert f"version: {retemper.__version__}\n" in CITATION
    recipe = (ROOT / ".github" / "conda" / "recipe.yaml").read_text()
    assert f'version: "{retemper.__version__}"' in recipe
    for need in PROJECT["project"]["dependencies"]:
        name, least = re.fullmatch(r"([\w-]+)>=([\d.]+)", need).groups()
        assert f"- {name} >={least}\n" in recipe


def test_every_paper_behind_a_system_is_cited():
    for system in systems():
        assert f"retemper.{system}" in CITATION
        entry = retemper.citation(importlib.import_module(f"retemper.{system}"))
        title = re.search(r"title\s*=\s*\{(.*?)\},?\n", entry, re.S).group(1)
        assert re.sub(r"[\s{}]+", " ", title).strip() in CITATION


def test_wheels_are_built_for_every_supported_python():
    supported = {
        c.rsplit(" ", 1)[1].replace(".", "")
        for c in PROJECT["project"]["classifiers"]
        if re.search(r"Python :: 3\.\d+$", c)
    }
    built = PROJECT["tool"]["cibuildwheel"]["build"]
    assert {re.fullmatch(r"cp(\d+)-\*", b).group(1) for b in built.split()} == supported


def test_links_of_the_readme_work_on_the_package_index():
    text = (ROOT / "README.md").read_text()
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert links
    assert [link for link in links if not link.startswith(("https://", "#"))] == []
