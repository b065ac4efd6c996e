"""The path `/`: one document with a policy under which nothing but its own style and script can ever run."""

from __future__ import annotations

import base64
import hashlib
from importlib import resources

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from avengers_edge.server.page.linking import Document, join


def read_files() -> dict[str, str]:
    """Read the page's files, by name."""
    folder = resources.files("avengers_edge.server.page") / "static"
    return {each.name: each.read_text(encoding="utf-8") for each in folder.iterdir() if each.is_file()}


def policy_of(document: Document) -> str:
    """Write the Content-Security-Policy.

    It names the style and the script by their hashes and lets the page talk to its own server. With Trusted Types no
    text can become markup or code in it, whatever a model writes.
    """
    rules = (
        "default-src 'none'",
        f"script-src '{_hash(document.script)}'",
        f"style-src '{_hash(document.style)}'",
        "img-src data:",  # its icon
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
    return "; ".join(rules)


def page_route() -> Route:
    """Make the route that serves the page; its files are read once."""
    document = join(read_files())
    body = document.html.encode()
    tag = f'"{hashlib.sha256(body).hexdigest()[:32]}"'
    headers = {
        "Content-Security-Policy": policy_of(document),
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
        "Cache-Control": "no-cache",  # asked for each time, sent again only when it changed
        "ETag": tag,
    }

    async def page(request: Request) -> Response:
        known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
        if known & {tag, "*"}:
            return Response(status_code=304, headers=headers)
        return Response(body, media_type="text/html", headers=headers)

    return Route("/", page, methods=["GET"])


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
