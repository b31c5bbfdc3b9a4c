"""What is wrong with a drawn figure, by the boxes of matplotlib's own renderer."""

from __future__ import annotations

import itertools
import math

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.text import Text
from matplotlib.transforms import Bbox

from .colours import lightness, luminance

#: Pixels at 100 dpi by which two boxes may run into each other: boxes are larger than their ink.
SLACK = 1.0
#: Contrast of a text with what is behind it, as the web's guidelines ask for large text.
CONTRAST = 3.0


def _drawn(axis) -> set[Text]:
    """Labels of the ticks that an axis draws; it keeps others for later."""
    ticks = axis._update_ticks()  # what matplotlib itself asks
    return {label for tick in ticks for label in (tick.label1, tick.label2)}


def texts(figure) -> list[Text]:
    """Every text that is drawn and not empty."""
    dropped: set[Text] = set()
    for ax in figure.axes:
        for axis in (ax.xaxis, ax.yaxis):
            if ax.axison and ax.get_visible() and axis.get_visible():
                kept = _drawn(axis) | {axis.label, axis.offsetText}
                dropped |= {t for t in axis.findobj(Text) if t not in kept}
            else:
                dropped |= set(axis.findobj(Text))
    found = figure.findobj(Text)
    return [t for t in found if t.get_visible() and t.get_text().strip() and t not in dropped]


def corners(text, renderer) -> np.ndarray:
    """The four corners of the box of a text, turned as the text is."""
    box = text.get_window_extent(renderer)
    angle = text.get_rotation()
    if angle % 90:
        text.set_rotation(0)
        flat = text.get_window_extent(renderer)
        text.set_rotation(angle)
        width, height = flat.width, flat.height
    else:
        width, height, angle = box.width, box.height, 0.0
    half = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [width / 2 - SLACK, height / 2 - SLACK]
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    return half @ np.array([[c, s], [-s, c]]) + [(box.x0 + box.x1) / 2, (box.y0 + box.y1) / 2]


def _apart(one: np.ndarray, two: np.ndarray) -> bool:
    """Whether a line separates two rectangles: some side of one of them does."""
    for shape in (one, two):
        for k in range(2):
            normal = shape[k + 1] - shape[k]
            a, b = one @ normal, two @ normal
            if a.max() <= b.min() or b.max() <= a.min():
                return True
    return False


def overlaps(figure, renderer) -> list[str]:
    """Pairs of texts that run into each other."""
    boxes = [(t, corners(t, renderer)) for t in texts(figure)]
    return [
        f"{a.get_text()!r} overlaps {b.get_text()!r}"
        for (a, one), (b, two) in itertools.combinations(boxes, 2)
        if not _apart(one, two)
    ]


def cut(figure, renderer) -> list[str]:
    """Texts that leave the figure, or are clipped by their axes."""
    found = []
    for text in texts(figure):
        box = text.get_window_extent(renderer)
        frames = [figure.bbox]
        if text.get_clip_on() and text.get_clip_box() is not None:
            frames.append(text.get_clip_box())
        for frame in frames:
            if (
                box.x0 < frame.x0 - SLACK or box.y0 < frame.y0 - SLACK
                or box.x1 > frame.x1 + SLACK or box.y1 > frame.y1 + SLACK
            ):  # fmt: skip
                found.append(f"{text.get_text()!r} is cut")
                break
    return found


def _title(ax) -> str:
    return " ".join(filter(None, (ax.get_title(where) for where in ("left", "center", "right"))))


def _is_number(text: str) -> bool:
    plain = text.replace("−", "-").replace("$", "").replace("\\mathdefault", "").strip("{}")
    return not any(c.isalpha() for c in plain.replace("times", "")) or plain.startswith("10^")


def unlabelled(figure) -> list[str]:
    """Axes with numbers on a scale and no word about what they are."""
    found = []
    for ax in figure.axes:
        if not (ax.axison and ax.get_visible()):
            continue
        for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
            ticks = [t.get_text() for t in _drawn(axis) if t.get_visible() and t.get_text().strip()]
            numbers = [t for t in ticks if _is_number(t)]
            if len(numbers) > 1 and not axis.get_label_text().strip():
                found.append(f"the {name} axis of {_title(ax)!r} has no label")
    return found


def _panels(figure) -> list:
    bars = {id(c.colorbar.ax) for ax in figure.axes for c in ax.collections if c.colorbar}
    return [ax for ax in figure.axes if id(ax) not in bars and (ax.has_data() or ax.texts)]


def headline(figure) -> str:
    """What a figure says above itself: its title, or that of its only panel."""
    panels = _panels(figure)
    return figure.get_suptitle() or (_title(panels[0]) if len(panels) == 1 else "")


def untitled(figure) -> list[str]:
    """Whether nothing above the figure says what to read from it: a sentence, not a setting."""
    said = headline(figure)
    return [] if len(said.split()) >= 5 else [f"{said!r} does not say what to read"]


def faint(figure, renderer) -> list[str]:
    """Texts that hardly differ from what is behind them."""
    shown = texts(figure)
    boxes = [(t, t.get_window_extent(renderer)) for t in shown]
    engine = figure.get_layout_engine()
    figure.set_layout_engine("none")  # everything stays where it is without the texts
    for text in shown:
        text.set_visible(False)
    figure.canvas.draw()
    pixels = np.asarray(figure.canvas.buffer_rgba())[..., :3] / 255.0
    for text in shown:
        text.set_visible(True)
    figure.set_layout_engine(engine)
    found, height = [], pixels.shape[0]
    for text, box in boxes:
        behind = pixels[
            max(0, height - math.ceil(box.y1)) : max(0, height - math.floor(box.y0)),
            max(0, math.floor(box.x0)) : math.ceil(box.x1),
        ]
        if not behind.size:
            continue
        patch = text.get_bbox_patch()
        around = (
            np.array(to_rgb(patch.get_facecolor())) if patch else np.median(behind, axis=(0, 1))
        )
        light, dark = sorted((luminance(to_rgb(text.get_color())), luminance(around)))[::-1]
        if (light + 0.05) / (dark + 0.05) < CONTRAST:
            found.append(f"{text.get_text()!r} is faint on what is behind it")
    return found


def alike(figure) -> list[str]:
    """Lines of one panel that a reader who sees no colours cannot tell apart."""
    found = []
    for ax in figure.axes:
        lines = [
            line for line in ax.get_lines()
            if not line.get_label().startswith("_") and len(line.get_xdata()) > 2
        ]  # fmt: skip
        for one, two in itertools.combinations(lines, 2):
            same = (str(one._unscaled_dash_pattern), one.get_marker()) == (
                str(two._unscaled_dash_pattern),
                two.get_marker(),
            )
            gap = abs(lightness(to_rgb(one.get_color())) - lightness(to_rgb(two.get_color())))
            if same and gap < 15:
                found.append(
                    f"lines {one.get_label()!r} and {two.get_label()!r} differ in hue alone"
                )
    return found


def changing(figure) -> list[str]:
    """Words that have one colour in one panel and another in the next."""
    colour: dict[str, tuple] = {}
    found = []
    for ax in figure.axes:
        for handle, label in zip(*ax.get_legend_handles_labels(), strict=True):
            get = getattr(handle, "get_color", getattr(handle, "get_facecolor", None))
            if get is None:
                continue
            try:
                now = to_rgb(get())
            except (ValueError, TypeError):
                continue
            if colour.setdefault(label, now) != now:
                found.append(f"{label!r} changes its colour between panels")
    return found


def hidden(figure, renderer) -> list[str]:
    """Legends on top of lines or points."""
    found = []
    for ax in figure.axes:
        legend = ax.get_legend()
        if legend is None:
            continue
        box = legend.get_window_extent(renderer)
        inner = Bbox.from_extents(box.x0 + 2, box.y0 + 2, box.x1 - 2, box.y1 - 2)
        for line in ax.get_lines():
            if len(line.get_xdata()) <= 2:  # marks a place, and goes on beside the legend
                continue
            path = line.get_transform().transform_path(line.get_path())
            if line.get_linestyle() == "None":
                at = path.vertices[np.isfinite(path.vertices).all(axis=1)]
                hit = (
                    bool(inner.contains_points(at).any())
                    if hasattr(inner, "contains_points")
                    else (bool(inner.count_contains(at)))
                )
            else:
                hit = path.intersects_bbox(inner, filled=False) and ax.bbox.overlaps(inner)
            if hit:
                found.append(f"the legend hides {line.get_label()!r}")
    return found


def faults(figure) -> list[str]:
    """Everything that a reader would trip over."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    return [
        *overlaps(figure, renderer), *cut(figure, renderer), *unlabelled(figure),
        *untitled(figure), *alike(figure), *changing(figure), *hidden(figure, renderer),
        *faint(figure, renderer),
    ]  # fmt: skip
