"""Nodes and edges in Graphviz's DOT language, and the finishing of the SVG it makes.

The picture has no background of its own and stands on light and dark pages alike: boxes carry
their own light fill with dark text, and what lies between them is a grey that shows on both.
What a node is can be seen from its outline without colour: leaves have square corners, operations
round ones, constants are dashed, outputs doubled. Colours are of the set by Okabe and Ito (2008),
which colour-blind readers can tell apart.

Labels are plain text, never HTML-like: Graphviz as WebAssembly drops those silently.
"""

from __future__ import annotations

import re

from .describing import one_line, shortened, width_in_ems
from .reading import OMITTED, Edge, Node, Reading

_FONT = "Helvetica,Arial,sans-serif"
_INK, _GREY = "#1a1a1a", "#808080"
_SIZE = 11.0  # points
_FAR, _NEAR = 12, 3  # columns
_LONG = 42  # characters in a line of a label; the whole text is in the tooltip

_LOOKS = {
    "leaf": 'shape=box, fillcolor="#d6e9f8", color="#0072b2", penwidth=1.5',
    "operation": 'shape=box, style="filled,rounded", fillcolor="#fbfbfb", color="#5c5c5c"',
    "pick": 'shape=box, style="filled,rounded", fillcolor="#fbfbfb", color="#5c5c5c"',
    "checkpoint": 'shape=folder, fillcolor="#e3f4ed", color="#00795a"',
    "constant": 'shape=box, style="filled,dashed", fillcolor="#efefef", color="#808080"',
    OMITTED: 'shape=box, style="filled,dotted", fillcolor="#fdf3dc", color="#9a6a00"',
}
_OUTPUT = 'peripheries=2, margin="0.15,0.07", fillcolor="#ffe7bf", color="#b35c00", penwidth=1.3'

# The order of operands matters in these; the sign stands at the arrow of the second.
_SIGNS = {"sub": "−", "div": "÷", "pow": "^", "matmul": "@"}


def dot_source(
    reading: Reading, direction: str, caption: str, background: str, fine: bool = False
) -> str:
    """The whole graph in DOT; ``fine`` asks for many pixels per inch."""
    if direction == "LR":
        gap, sign = "nodesep=0.18, ranksep=0.32", "labeldistance=1.6, labelangle=-40"
    else:
        gap, sign = "nodesep=0.25, ranksep=0.3", "labeldistance=2.1, labelangle=-30"
    lines = [
        "digraph tapegrad {",
        f"  graph [rankdir={direction}, bgcolor={quoted(background)}, {gap}, pad=0.1, "
        f'fontname="{_FONT}", fontsize=9, fontcolor="{_GREY}", labelloc=b, '
        f"label={quoted(caption)}, tooltip={quoted(caption)}{', dpi=192' if fine else ''}]",
        f'  node [fontname="{_FONT}", fontsize={_SIZE:g}, fontcolor="{_INK}", style=filled, '
        'height=0.3, width=0.3, margin="0.11,0.06"]',
        f'  edge [fontname="{_FONT}", fontsize=8.5, fontcolor="{_GREY}", color="{_GREY}", '
        f"arrowsize=0.6, {sign}]",
    ]
    nodes = {node.id: node for node in reading.nodes}
    far = _far_edges(reading)
    marks: dict[str, str] = {}  # how a node without a name is told from its likes
    for edge in reading.edges:
        if edge in far and edge.source != OMITTED and not nodes[edge.source].name:
            marks.setdefault(edge.source, f"#{len(marks) + 1}")
    lines += [_node(node, marks.get(node.id, "")) for node in reading.nodes]
    if reading.omitted:
        text = f"{omitted_text(reading)}\nleft out here"
        lines.append(f"  {OMITTED} [label={quoted(text)}, class={OMITTED}, {_LOOKS[OMITTED]}]")
    hidden = set()
    for count, edge in enumerate(reading.edges):
        source, tip = edge.source, _tip(edge, nodes[edge.target])
        if source == OMITTED:
            if edge.target in hidden:
                continue  # one arrow stands for all that is left out behind it
            hidden.add(edge.target)
            tip = "style=dashed"
        if edge in far:
            source = f"r{count}"
            lines.append(f"  {source} [{_reference(edge, nodes, marks)}]")
        lines.append(
            f"  {source} -> {edge.target} [{tip}]" if tip else f"  {source} -> {edge.target}"
        )
    return "\n".join([*lines, "}", ""])


def _far_edges(reading: Reading) -> set[Edge]:
    """The edges that would cross so many columns that a small repeated box is easier to follow.

    A weight that every step of a long chain reads would else send an arrow past all of them; that
    is unreadable, and more than Graphviz as WebAssembly can lay out.
    """
    column: dict[str, int] = {}  # counted from the output
    users: dict[str, list[str]] = {}
    for edge in reading.edges:
        users.setdefault(edge.source, []).append(edge.target)
    for node in [*reversed([node.id for node in reading.nodes]), OMITTED]:  # users before operands
        column[node] = 1 + max((column[user] for user in users.get(node, ())), default=0)
    reach = {e: column[e.source] - column[e.target] for e in reading.edges}
    repeated = {e.source for e, columns in reach.items() if columns > _FAR}
    return {
        e for e, columns in reach.items() if columns > (_NEAR if e.source in repeated else _FAR)
    }


def _reference(edge: Edge, nodes: dict[str, Node], marks: dict[str, str]) -> str:
    """The attributes of a small box that stands for a node drawn elsewhere."""
    small = 'margin="0.05,0.03", height=0.22, width=0.22, fontsize=9'
    if edge.source == OMITTED:
        return f'label="…", class="reference", {_LOOKS[OMITTED]}, {small}'
    node = nodes[edge.source]
    text = marks.get(node.id) or shortened(one_line(node.name), _LONG)
    return (
        f"label={quoted(text)}, tooltip={quoted(f'{text}, drawn elsewhere')}, "
        f'class="reference", {_LOOKS[node.kind]}, penwidth=0.7, {small}'
    )


def omitted_text(reading: Reading) -> str:
    """How many nodes are not in the picture."""
    more = "more than " if not reading.counted_all else ""
    nodes = "node" if reading.omitted == 1 and not more else "nodes"
    return f"{more}{reading.omitted:,} {nodes}"


def _node(node: Node, mark: str) -> str:
    lines = label_lines(node)
    if mark:
        lines[0] = f"{lines[0]}  {mark}"
    label = "\n".join(shortened(one_line(line), _LONG) for line in lines)
    attributes = [
        f"label={quoted(label)}",
        f"tooltip={quoted(chr(10).join(map(one_line, [*lines, *_more(node)])))}",
        f"class={quoted(_class(node))}",
        _LOOKS[node.kind],
    ]
    if _is_number(node):
        attributes.append('margin="0.05,0.03", height=0.24, width=0.24')
    else:  # what Graphviz takes for the width depends on its fonts, and it knows no bold title
        title, *rest = label.split("\n")
        ems = max([width_in_ems(title), *(0.95 * width_in_ems(line) for line in rest)])
        attributes.append(f"width={ems * _SIZE / 72 + 0.22:.2f}")
    if node.is_output:
        attributes.append(_OUTPUT)
    return f"  {node.id} [{', '.join(attributes)}]"


def _class(node: Node) -> str:
    kind = "number" if _is_number(node) else node.kind
    return f"{kind} output" if node.is_output else kind


def _is_number(node: Node) -> bool:
    """Whether a node is a bare number, drawn as small as it is."""
    return node.kind == "constant" and node.shape == () and not node.name


def label_lines(node: Node) -> list[str]:
    """The lines of a node's label: what it is, its settings and shape, value and gradient."""
    what = node.settings if node.kind == "pick" else node.op
    if _is_number(node) and node.value is not None:
        return [node.value]
    lines = [" = ".join(part for part in (node.name, what) if part) or node.kind]
    if node.settings and node.kind != "pick":
        lines.append(node.settings)
    if node.shape is not None:
        if node.kind in ("leaf", "constant"):
            lines.append(f"{node.shape if node.shape else 'scalar'} {node.dtype}")
        elif node.shape:
            lines.append(str(node.shape))
    if node.value is not None:
        lines.append(f"value {node.value}")
    if node.grad is not None and node.grad != node.stored:
        lines.append(f"gradient {node.grad}")
    if node.stored is not None:
        lines.append(f".grad {node.stored}")
    return lines


def _more(node: Node) -> list[str]:
    """What only the tooltip says."""
    if node.kind in ("leaf", "constant") or node.dtype is None:
        return []
    return [f"{node.shape} {node.dtype}"]


def _tip(edge: Edge, target: Node) -> str:
    """The attributes of an arrow: a sign at the second operand where the order matters."""
    sign = _SIGNS.get(target.op or "") if edge.position == 1 else None
    return f"headlabel={quoted(sign)}, fontsize=12" if sign else ""


def quoted(text: str) -> str:
    r"""A string of DOT that shows exactly this text.

    Graphviz reads backslashes (``\N`` is the node's name) and HTML entities in labels, so both
    are escaped.

    >>> print(quoted('a "b" & ' + chr(92) + 'N'))
    "a \"b\" &amp; \\N"
    """
    text = text.replace("&", "&amp;").replace("\\", "\\\\").replace('"', '\\"')
    return '"' + text.replace("\n", "\\n") + '"'


_WIDE = 1600.0  # points; a wider picture scrolls instead of shrinking to nothing


def finished_svg(picture: str, *, in_page: bool = True) -> str:
    """Graphviz's SVG made ready: no prolog, titles bold, and ``in_page`` no wider than the page
    (a style that some programs for SVG files take for no height at all)."""
    picture = picture[picture.index("<svg") :]
    # Plain labels have one font; a bold first line tells what a node is from what it holds.
    picture = re.sub(
        r'(<g id="[^"]*" class="node (?!number)[^"]*">.*?<text )(.*?)(?=</g>)',
        lambda m: m[1] + 'font-weight="bold" ' + _softened(m[2]),
        picture,
        flags=re.S,
    )
    width = re.match(r'<svg width="([\d.]+)pt"', picture)
    if in_page and width and float(width[1]) <= _WIDE:
        picture = picture.replace("<svg ", '<svg style="max-width:100%;height:auto" ', 1)
    return picture


def _softened(rest: str) -> str:
    """Gradients in a colour of their own, so that they are found at a glance."""
    return re.sub(r"<text (?=[^>]*>\.?grad)", '<text font-style="italic" ', rest)
