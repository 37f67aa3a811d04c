"""Just enough HTML: elements from nested calls, text always escaped."""

import html
from typing import Sequence, Union


class Html(str):
    """Markup that is escaped already."""


Content = Union[str, Html]


def escaped(content: Content) -> Html:
    return content if isinstance(content, Html) else Html(html.escape(content))


def element(name: str, /, *content: Content, **attributes: str) -> Html:
    """`css="x"` becomes class="x"; void elements have no content."""
    written = "".join(f' {"class" if key == "css" else key}="{html.escape(value)}"'
                      for key, value in attributes.items() if value)
    if name in ("img", "meta"):
        return Html(f"<{name}{written}>")
    return Html(f"<{name}{written}>{''.join(map(escaped, content))}</{name}>")


def joined(parts: list[Html], separator: str = "\n") -> Html:
    return Html(separator.join(parts))


def table(caption: Content, header: Sequence[Content], rows: list[Html],
          texts: Sequence[str] = ()) -> Html:
    """`rows` are tr elements; `texts` are the columns that are not numbers. Without a header it
    is a list of names and values."""
    head = [element("th", cell, scope="col", css="text" if cell in texts else "")
            for cell in header]
    inner = [element("caption", caption)]
    inner += [element("thead", element("tr", *head))] if head else []
    inner.append(element("tbody", joined(rows)))
    kind = "" if head else "pairs"
    return element("div", element("table", joined(inner), css=kind), css="scroll")
