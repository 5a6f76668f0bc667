"""How Sphinx builds these pages: `make docs`."""

from __future__ import annotations

import ast
import inspect
import sys
from pathlib import Path
from types import ModuleType

sys.path.insert(0, str(Path(__file__).parent.parent))

import jobtool

project = "jobtool"
release = jobtool.__version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["__pycache__"]

# Headings have the anchors that GitHub gives them.
myst_heading_anchors = 4
suppress_warnings = ["misc.highlighting_failure"]  # blocks that are cut short with …

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
autodoc_default_options = {"members": True, "exclude-members": "__init__, __new__"}
python_use_unqualified_type_names = True
python_maximum_signature_line_length = 88
napoleon_numpy_docstring = False
napoleon_use_ivar = True
add_module_names = False

html_theme = "furo"
html_title = f"jobtool {release}"
html_show_sourcelink = False
html_copy_source = False


def import_types(module: ModuleType) -> None:
    """Make the imports that a module has for type checkers, so that annotations can be read."""
    for node in ast.parse(inspect.getsource(module)).body:
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            exec(ast.unparse(ast.Module(node.body, [])), vars(module))


for public in (getattr(jobtool, name) for name in jobtool.__all__):
    if inspect.isclass(public):
        import_types(sys.modules[public.__module__])
