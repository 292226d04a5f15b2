"""The page, its script and its texts."""

import json
from pathlib import Path

from fastapi import FastAPI, Response
from fastapi.staticfiles import StaticFiles
from jinja2 import Environment, FileSystemLoader, select_autoescape

HERE = Path(__file__).parent


def add_page(app: FastAPI) -> None:
    # Templates are read and rendered once: the page holds no data, the script asks the API for it.
    environment = Environment(loader=FileSystemLoader(HERE / "templates"), autoescape=select_autoescape())
    locales = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted((HERE / "locales").glob("*.json"))}
    page = environment.get_template("index.html").render(text=locales["en"])

    @app.get("/", include_in_schema=False)
    def index() -> Response:
        return Response(page, media_type="text/html; charset=utf-8", headers={"Cache-Control": "no-cache"})

    @app.get("/favicon.ico", include_in_schema=False)
    def icon() -> Response:
        return Response((HERE / "static" / "icon.svg").read_bytes(), media_type="image/svg+xml")

    app.mount("/static", StaticFiles(directory=HERE / "static"), name="static")
    app.mount("/locales", StaticFiles(directory=HERE / "locales"), name="locales")
