"""Self-contained HTML pages: a simulation, a sweep, two results side by side.

`page` says what a page is made of and writes it as one file that needs nothing from outside; `assets/` holds its
template, style sheet and scripts, and plotly.js, which draws. `style` has colours and what charts have in common.
Raises SpecError on import if the packages for this are not installed.
"""

from codesign.errors import SpecError

try:
    import jinja2  # noqa: F401
    import plotly  # noqa: F401
except ImportError as error:
    raise SpecError(f"HTML needs the package {error.name}; pip install 'codesign[report]'") from None
