"""The documentation and the advice page as a browser shows them.

Needs Debian's ``chromium`` and ``chromium-driver``, and selenium. The built site is named by
``RETEMPER_SITE``; without it only the advice page is opened.
"""

import base64
import contextlib
import functools
import html
import http.server
import os
import re
import shutil
import threading
from pathlib import Path
from urllib.parse import unquote, urldefrag, urlsplit

import numpy as np
import pytest

import retemper
from retemper.gallery import figure_scripts

from ..contract.discover import ROOT

SITE = os.environ.get("RETEMPER_SITE")
if SITE:
    from selenium import webdriver
else:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed")
DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(  # whoever names a site wants it opened
    not (SITE or (DRIVER and BROWSER)), reason="chromium and chromium-driver are not installed"
)

NARROW, WIDE = (400, 900), (1280, 900)
N_PARTS = 2


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder with the site, if there is one, and an advice page."""
    folder = tmp_path_factory.mktemp("pages")
    if SITE:
        shutil.copytree(SITE, folder / "site")
    rng = np.random.default_rng(0)
    X, w = rng.normal(size=(40, 12)), rng.normal(size=12)
    sources = {f"a source with a rather long name, number {k}": w * k for k in range(1, 4)}
    y = X @ w + rng.normal(size=40)
    retemper.advise(X, y, sources=sources, budget=300, target_error=1.2).to_html(
        folder / "advice.html"
    )
    return folder


@pytest.fixture(scope="module")
def address(root):
    handler = functools.partial(Handler, directory=str(root))
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for word in (
        "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-sync",
        "--disable-background-networking", "--disable-component-update", "--disable-quic",
        "--disable-dev-shm-usage", f"--user-data-dir={tmp_path_factory.mktemp('profile')}",
    ):  # fmt: skip
        options.add_argument(word)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(30)
    yield driver
    driver.quit()


def pages(root):
    names = (p.relative_to(root).as_posix() for p in root.rglob("*.html"))
    return sorted(name for name in names if "/_static/" not in name)  # parts of the theme


LOOK = """
return {
  links: [...document.querySelectorAll('a[href]')].map(a => a.href),
  outside: [...document.querySelectorAll('script[src], link[rel=stylesheet], img, iframe')]
    .map(e => e.src || e.href).filter(u => u && !u.startsWith(location.origin)
      && !u.startsWith('data:')),
  broken: [...document.images].filter(i => !i.complete || i.naturalWidth == 0).map(i => i.src),
  silent: [...document.images].filter(i => !i.hasAttribute('alt')).map(i => i.src),
  title: document.title, language: document.documentElement.lang,
  fetched: performance.getEntriesByType('resource').map(e => e.name)
    .filter(u => u.startsWith('http') && !u.startsWith(location.origin)),
  headings: document.querySelectorAll('h1').length,
};
"""
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


def test_there_is_a_site_where_one_must_be(root):
    if os.environ.get("CI") and not SITE:
        pytest.skip("the site is built and opened by a later stage")
    names = pages(root)
    assert "advice.html" in names
    if SITE:
        assert {"site/index.html", "site/advise.html", "site/guide.html"} <= set(names)
        assert sum(name.startswith("site/generated/api/") for name in names) > 8
        drawn = {
            p.stem.split("_00")[0] for p in (Path(SITE) / "_images").glob("sphx_glr_*_00*.png")
        }
        for script in figure_scripts().values():
            if "needs torch" not in script.title:
                assert f"sphx_glr_{script.path.stem}" in drawn
        notebooks = {p.stem for p in (Path(SITE) / "_downloads").rglob("*.ipynb")}
        tutorials = {p.stem for p in (ROOT / "tutorials").glob("plot_*.py")}
        assert tutorials
        assert tutorials <= notebooks & {
            f"{p.stem}" for p in Path(SITE, "tutorials").glob("*.html")
        }


def test_every_derivation_shows_its_formulas(root, address, browser):
    if not SITE:
        pytest.skip("no built site")
    for path in Path(SITE, "derivations").glob("*.html"):
        browser.get(f"{address}/site/derivations/{path.name}")
        found = browser.execute_script(
            "return [...document.querySelectorAll('div.math math')]"
            ".map(e => e.getBoundingClientRect()).map(b => [b.width, b.height])"
        )
        assert all(width > 20 and height > 10 for width, height in found), path.name
        assert found or path.stem in ("index", "numerics")


def test_no_formula_is_left_as_it_was_written(root):
    """A bar in a cell of a table ends the cell, and the formula with it."""
    hidden = re.compile(r"<(script|style|pre|code)\b.*?</\1>|<[^>]+>", re.S)
    source = re.compile(r"\$[^$\n]*\\[a-z]+|\\(?:frac|sum|lambda|sigma|kappa|gamma|mathbb)\b")
    found = {name: source.findall(hidden.sub(" ", (root / name).read_text()))
             for name in pages(root)}  # fmt: skip
    assert {name: left for name, left in found.items() if left} == {}


@functools.cache
def places(path):
    """What a link to a page may name after its #."""
    return {html.unescape(name) for name in re.findall(r'\bid="([^"]+)"', path.read_text())}


@contextlib.contextmanager
def narrow(browser):
    # headless windows are at least 500 wide: the size of the page is set instead
    metrics = {"width": NARROW[0], "height": NARROW[1], "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    yield
    browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})


def dead(root, name, link):
    """What is wrong with a link of ours, if anything."""
    page, anchor = urldefrag(link)
    path = unquote(urlsplit(page).path).lstrip("/")
    if path.endswith("/") or not path:
        path += "index.html"
    if not (root / path).exists():
        return f"{name}: dead link {link}"
    if anchor and path.endswith(".html") and unquote(anchor) not in places(root / path):
        return f"{name}: no anchor {link}"
    return None


@pytest.mark.parametrize("part", range(N_PARTS))  # two workers open two browsers
def test_pages_load_their_links_resolve_and_none_scrolls_sideways(root, address, browser, part):
    browser.set_window_size(*WIDE)
    problems = []
    for name in pages(root)[part::N_PARTS]:
        browser.get(f"{address}/{name}")
        seen = browser.execute_script(LOOK)
        for line in browser.get_log("browser"):
            if line["level"] == "SEVERE" and "favicon" not in line["message"]:
                problems.append(f"{name}: console: {line['message']}")
        problems += [f"{name}: {kind} {u}" for kind in ("outside", "fetched", "broken", "silent")
                     for u in seen[kind]]  # fmt: skip
        if not seen["title"] or not seen["language"]:
            problems.append(f"{name}: no title or language")
        if not seen["headings"] and not name.endswith(("genindex.html", "search.html")):
            problems.append(f"{name}: no heading")
        ours = {u for u in seen["links"] if u.startswith(address)}
        problems += filter(None, (dead(root, name, link) for link in ours))
        with narrow(browser):
            assert browser.execute_script("return window.innerWidth") == NARROW[0]
            if (over := browser.execute_script(OVERFLOW)) > 1:
                problems.append(f"{name}: {over} pixels too wide for a telephone")
    assert not problems, "\n".join(sorted(set(problems))[:40])


@pytest.mark.parametrize("name", ["advice.html", "site/guide.html", "site/advise.html"])
def test_pages_print(root, address, browser, name):
    if not (root / name).exists():
        pytest.skip("no built site")
    browser.get(f"{address}/{name}")
    shown = browser.execute_script("return document.body.innerText.length")
    found = browser.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    paper = base64.b64decode(found["data"])
    assert paper.startswith(b"%PDF")
    assert len(paper) > 10_000
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    printed = browser.execute_script("return document.body.innerText.length")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert printed > 0.5 * shown  # what is hidden on paper is navigation
