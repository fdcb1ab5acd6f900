"""The documentation: `sphinx-build -W -n docs site`."""

from mnistcompose import __version__

copyright = "the mnistcompose developers"  # noqa: A001
project, author, release = "mnistcompose", "the mnistcompose developers", __version__
extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.viewcode",
    "sphinx_click",
    "sphinx_copybutton",
]
nb_execution_mode = "off"  # the tests run the notebook
html_theme = "furo"
html_title = "mnistcompose"
myst_heading_anchors = 3
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
napoleon_google_docstring = False
napoleon_use_rtype = False
napoleon_preprocess_types = False
# Types in signatures and in our "Parameters" sections name things of numpy, torch and pydantic, whose pages are not
# at hand where the documentation is built without a network; references written in the text are checked.
nitpick_ignore_regex = [("py:.*", ".*")]
copybutton_exclude = ".linenos, .gp, .go"
