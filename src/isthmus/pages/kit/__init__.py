"""What every page is made of: one look, one policy, and a safe way for data to get in.

A page is one HTML file without outside resources. Its Content-Security-Policy lets only its own
style and script in, by hash; whatever comes from data is text or an inert block. A page that needs
no script is made of markup alone::

    from isthmus.pages import kit

    body = [
        kit.header("wine.csv: anomaly", kit.tag("span", "7 methods", class_="quiet")),
        kit.main(
            kit.tag("p", "Take ", kit.tag("b", name), class_="idea"),
            kit.card("Measures", kit.table(["method", "roc auc"], rows, numbers={1})),
            kit.card("Quality against cost", kit.Html(svg)),
            kit.card("Left out", kit.details("3 methods", kit.listed(notes))),
            kit.picture(pixels, "inputs, and what topk rebuilds"),
        ),
    ]
    write_atomically(path, kit.document("wine.csv", body).encode())

- :func:`document` puts a page together: markup, style, scripts, and the policy for these.
- :func:`tag` makes an element. Strings are text and are escaped; :class:`Html` is markup already.
- :func:`header`, :func:`main`, :func:`card`, :func:`table`, :func:`details`, :func:`listed`,
  :func:`facts`: what pages have in common, in the classes of ``assets/kit.css``.
- :func:`picture`: pixels as a small image that lies in the page; :func:`png` only its bytes.
- :func:`block`, :func:`packed`, :class:`Binary`, :func:`array`: data for scripts, inert.
- :func:`asset`, :func:`scripts`: style sheets and scripts by package and name. The kit's own
  (:data:`SCRIPTS`) draw text, charts and images; all they write is text nodes.

Colours are variables (``var(--accent)``, ``var(--second)``, ``var(--quiet)``, ``var(--edge)``) that
follow the reader's dark mode; drawings in SVG name them by class (``line``, ``line-1``, ``spot``,
``grid``, ``bar``, and texts need none inside ``<svg class="chart">``).
"""

from isthmus.pages.kit.blocks import Binary, Detail, array, block, number, packed, short
from isthmus.pages.kit.images import picture, png
from isthmus.pages.kit.markup import (
    Html,
    card,
    details,
    facts,
    header,
    listed,
    main,
    table,
    tag,
    visible,
)
from isthmus.pages.kit.policy import SCRIPTS, asset, document, scripts

__all__ = [
    "SCRIPTS", "Binary", "Detail", "Html", "array", "asset", "block", "card", "details",
    "document", "facts", "header", "listed", "main", "number", "packed", "picture", "png",
    "scripts", "short", "table", "tag", "visible",
]  # fmt: skip
