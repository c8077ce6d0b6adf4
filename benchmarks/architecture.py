"""How the library is divided: modules per folder, floors of imports, arrows between packages.

``python benchmarks/architecture.py [SOURCE]`` reads the folder that holds ``recsae``, by default
this repository. A module's floor is the longest chain of imports below it; imports for type
checkers count, as the types are a dependency of whoever reads the code.
"""

from __future__ import annotations

import ast
import sys
from collections import Counter
from pathlib import Path
from statistics import median

import grimp
import networkx  # type: ignore[import-untyped]


def main() -> None:
    """Print what was found."""
    root = Path(sys.argv[1] if len(sys.argv) > 1 else Path(__file__).parents[1]).resolve()
    sys.path.insert(0, str(root))
    graph = grimp.build_graph("recsae", cache_dir=None)
    modules = {m for m in graph.modules if not graph.find_children(m)}
    arrows = networkx.DiGraph()
    arrows.add_nodes_from(modules)
    for module in modules:
        below = graph.find_modules_directly_imported_by(module)
        arrows.add_edges_from((module, other) for other in below & modules)
    circles = [c for c in networkx.strongly_connected_components(arrows) if len(c) > 1]
    floors = networkx.dag_longest_path_length(networkx.condensation(arrows)) + 1
    lengths = [len(path.read_text().splitlines()) for path in (root / "recsae").rglob("*.py")]
    functions = [
        (node.end_lineno or 0) - node.lineno + 1
        for path in (root / "recsae").rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    print(f"modules: {len(modules)}, lines: median {median(lengths):.0f}, most {max(lengths)}")
    print(f"functions: median {median(functions):.0f} lines, most {max(functions)}")
    print(f"imports: {arrows.number_of_edges()}, floors: {floors}, circles: {len(circles)}")
    folders = Counter(str(path.parent.relative_to(root)) for path in _modules(root))
    print("modules per folder:")
    for folder, number in sorted(folders.items()):
        print(f"  {folder}: {number}")
    between = Counter(
        (one.split(".")[1], other.split(".")[1])
        for one, other in arrows.edges
        if one.split(".")[1] != other.split(".")[1]
    )
    packages = {p.parent.name for p in (root / "recsae").glob("*/__init__.py")}
    print("imports between packages:")
    for package in sorted(packages):
        here = {o: n for (p, o), n in between.items() if p == package and o in packages}
        print(f"  {package} -> {', '.join(f'{o} {n}' for o, n in sorted(here.items())) or '-'}")


def _modules(root: Path) -> list[Path]:
    return [path for path in (root / "recsae").rglob("*.py") if path.name != "__init__.py"]


if __name__ == "__main__":
    main()
