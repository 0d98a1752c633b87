"""Sphinx's settings; site/build.py calls it. Nothing on a page comes from another host: MathJax is
a Python package.
"""

import base64
import hashlib
import json
import os
import shutil
from importlib.util import find_spec
from pathlib import Path

from docutils import nodes
from sphinx.util import logging

project = "Unlearning under attack"
author = "the authors of the course"
language = "en"
root_doc = "index"
exclude_patterns = ["README.md"]  # index.md includes it

extensions = ["myst_nb"]
nb_execution_mode = "off"
nb_render_markdown_format = "myst"  # sentences built by code cells may hold formulas and tables
nb_ipywidgets_js = {}  # the notebooks carry no widget state: static twins show instead
myst_enable_extensions = ["dollarmath", "attrs_inline", "attrs_block", "smartquotes"]
myst_heading_anchors = 2
myst_dmath_double_inline = True  # as JupyterLab does: $$ … $$ in the middle of a paragraph

html_title = project
html_theme = "sphinx_book_theme"
html_theme_options = {
    "use_fullscreen_button": False,
    "show_navbar_depth": 1,
    "show_toc_level": 2,
    "home_page_in_toc": True,
    "footer_content_items": [],
    "navbar_persistent": [],  # the search field is in the side bar already
    "secondary_sidebar_items": {"**": ["page-toc"], "scoreboard": [], "status": [],
                                "docs/versions": [], "docs/recap": []},
}
html_context = {"default_mode": "auto"}
html_favicon = "static/icon.svg"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_copy_source = True  # a notebook can be downloaded as it is
html_use_index = False
mathjax_path = "mathjax/tex-chtml.js"
mathjax3_config = {"options": {"enableMenu": False}}  # the menu offers things that are not here

status, alts = json.loads(os.environ.get("SITE_STATUS", "{}")), {}


def add_status_line(app, name, content):
    """Below the title of a notebook's page; the file that is offered for download stays as it is.
    """
    if not app.env.doc2path(name).suffix == ".ipynb":
        return
    node = json.loads(content[0])
    outputs = [o for c in node["cells"] for o in c.get("outputs", [])]
    first = "".join(node["cells"][0]["source"]).split("\n", 1)
    node["cells"][0]["source"] = "\n\n".join([first[0], "{.status}\n" + status.get(Path(name).name,
                                                                                   ""), *first[1:]])
    alts[name] = {}
    for output in outputs:  # records are for machines; myst-nb warns of what it cannot show
        output.get("data", {}).pop("application/vnd.labkit+json", None)
    for output in (o for o in outputs if "image/png" in o.get("data", {})):
        picture = hashlib.sha256(base64.b64decode("".join(output["data"]["image/png"]))).hexdigest()
        alts[name][picture] = output.get("metadata", {}).get("image/png", {}).get("alt", "")
    content[0] = json.dumps(node)


def add_alt_texts(app, doctree):
    """myst-nb names a picture by its hash and leaves out the alt text that the output carries."""
    for image in doctree.findall(nodes.image):
        image["alt"] = alts.get(app.env.docname,
                                {}).get(Path(image["uri"]).stem) or image.get("alt", "")
        if len(image["alt"]) < 40:
            logging.getLogger(__name__).warning("a picture without a description: %s", image["uri"])


def copy_mathjax(app):
    """MathJax 3.2.2 as a Python package carries it: the script, its fonts, the TeX extensions it
    may load.
    """
    there = Path(find_spec("sphinx-mathjax-offline").origin).parent / "static" / "mathjax"
    here = Path(app.outdir) / "_static" / "mathjax"
    for part in ("output/chtml/fonts/woff-v2", "input/tex/extensions"):
        shutil.copytree(there / part, here / part)
    shutil.copy(there / "tex-chtml.js", here)


def setup(app):
    app.connect("builder-inited", copy_mathjax)
    app.connect("source-read", add_status_line)
    app.connect("doctree-read", add_alt_texts)
