"""Pictures of what was recorded: :func:`graph` reads the tape and draws it.

``reading`` turns records into plain nodes and edges, ``naming`` finds what tensors are called,
``describing`` makes values and parameters short, ``cotangents`` carries gradients to every node,
``dot`` writes Graphviz's language, and ``picture`` holds what the user gets.
"""

from __future__ import annotations

from .picture import Graph, graph
from .reading import Edge, Node

__all__ = ["Edge", "Graph", "Node", "graph"]
