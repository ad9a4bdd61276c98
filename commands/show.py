"""A local web page to look at a run and to play with its nets.

It is served to this machine alone, and to itself alone: a page of somebody else's that
the same browser has open can neither ask it anything nor read an answer.
"""

import base64
import json
import logging
import math
import os
import socket
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any
from wsgiref.types import StartResponse, WSGIEnvironment

import tensorflow as tf
from werkzeug.exceptions import HTTPException
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.wrappers import Request, Response

from commands import use
from commands.answers import Answers
from coopnets_tf.errors import ArgumentError, UserError

HOST = "127.0.0.1"
NAMES = (HOST, "localhost")  # by which a browser may call it
FILES = {
    "/": ("index.html", "text/html"),
    "/page.css": ("page.css", "text/css"),
    "/page.js": ("page.js", "text/javascript"),
}
MOST_BYTES = 20_000_000  # of a file of the user's
MOST_SENT = MOST_BYTES * 4 // 3 + 5_000_000  # in base64, and with a mask
SECONDS = 60  # for which a connection may be silent
HEADERS = {
    # Nothing from elsewhere, nothing within other pages, no code but page.js.
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src "
    "'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def show(
    workdir: Path | str,
    *,
    checkpoint: str | int = "newest",
    trust_network: bool = False,
    port: int = 1609,
    image_size: str | None = None,
    latent_size: str | None = None,
    infer_steps: int = 300,
    infer_step_size: float | None = None,
    label: str | None = None,
) -> None:
    """Serves the page of a run until Ctrl-C. Writes nothing.

    Args:
      workdir, checkpoint, trust_network, infer_step_size: see `use.opened`.
      port: of 127.0.0.1; 0: any that is free.
      image_size, latent_size: see `sample.sample`.
      infer_steps: of G1, in a recovery.
      label: the class of the images at first, see `by_class.labels_for`; of nets that
        are told any.

    Raises:
      ArgumentError: if the port is not available.
      RunError: if the run's images cannot be shown on a page.
    """
    with _listening(port) as listener:
        run_dir, model = use.opened(
            workdir, checkpoint, trust_network, infer_step_size=infer_step_size
        )
        model = use.sized(model, image_size, latent_size)
        page = Page(Answers(model, run_dir, infer_steps, label))
        address = f"http://{HOST}:{listener.getsockname()[1]}"
        print(f"Step {int(model.step):,} of {run_dir}: {address}", flush=True)
        print("Open it in a browser on this machine. Ctrl-C ends it.", flush=True)
        serve(page, listener)


def _listening(port):
    try:
        return socket.create_server((HOST, port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else error
        raise ArgumentError(
            f"`port`={port} cannot be used: {reason}. Give another `port`, or "
            "0 for any that is free."
        ) from error


class Handler(WSGIRequestHandler):
    """Gives up on those who keep silent, and prints no line for each request."""

    timeout = SECONDS

    def log(self, *arguments: Any) -> None:
        pass


def serve(page: "Page", listener: socket.socket) -> None:
    """Answers who calls at a socket, until Ctrl-C."""
    server = make_server(
        HOST,
        listener.getsockname()[1],
        page,
        threaded=True,  # browsers open connections that they do not use
        request_handler=Handler,
        fd=listener.fileno(),
    )
    server.serve_forever()  # returns on Ctrl-C
    page.end()


class Page:
    """The page as a WSGI application. It answers questions one after the other.

    Args:
      answers: whoever knows the answers.
    """

    def __init__(self, answers: Answers) -> None:
        self._lock = threading.Lock()
        self._ended = False
        folder = Path(__file__).with_name("page")
        self._files = {
            path: ((folder / name).read_bytes(), kind)
            for path, (name, kind) in FILES.items()
        }
        self._told: dict[str, Callable[[], Any]] = {
            "/facts": lambda: {**answers.facts(), "most_bytes": MOST_BYTES},
            "/curves": answers.curves,
        }
        self._asked = _asked(answers)

    def __call__(
        self, environ: WSGIEnvironment, start_response: StartResponse
    ) -> Iterable[bytes]:
        request = Request(environ)
        request.max_content_length = MOST_SENT
        response = self._respond(request)
        response.headers.update(HEADERS)
        return response(environ, start_response)

    def end(self) -> None:
        """Returns when the nets are at rest, and lets nobody ask them any more.

        A thread within TensorFlow must not outlive Python.
        """
        self._ended = True
        if self._lock.locked():
            print("The last question is still being answered.", flush=True)
        with self._lock:
            pass

    def _respond(self, request):
        """Every answer but a file is JSON; a refusal has a sentence as its `error`."""
        try:
            if wrong := _stranger(request):
                return _json({"error": wrong}, 403)
            return self._answer(request)
        except UserError as error:
            return _json({"error": str(error)}, 400)
        except HTTPException as error:  # such as a question that is too long
            return _json({"error": error.description}, error.code)
        except tf.errors.ResourceExhaustedError:
            return _json({"error": "Out of memory."}, 503)
        except Exception:
            logging.exception("%s failed", request.path)
            return _json({"error": "The program failed; its terminal says how."}, 500)

    def _answer(self, request):
        path = request.path
        if request.method == "POST" and path in self._asked:
            question = _question(request)
            with self._lock:
                if self._ended:
                    return _json({"error": "The program ends."}, 503)
                return _json(self._asked[path](question))
        if request.method in ("GET", "HEAD") and path in self._files:
            content, kind = self._files[path]
            return Response(content, mimetype=kind)
        if request.method in ("GET", "HEAD") and path in self._told:
            return _json(self._told[path]())
        known = path in {**self._files, **self._told, **self._asked}
        return _json({"error": "There is nothing here."}, 405 if known else 404)


def _asked(answers):
    """By path what answers a question, a JSON object, on the nets."""

    def of_class(question):
        chosen = "label" in question
        return answers.of_class(_text(question, "label")) if chosen else answers

    return {
        "/samples": lambda question: of_class(question).samples(
            seed=_seed(question),
            steps=_whole(question, "steps", answers.most_steps),
        ),
        "/map": lambda question: of_class(question).map(seed=_seed(question)),
        "/walk": lambda question: of_class(question).walk(
            seed=_seed(question),
            down=_part(question, "down"),
            across=_part(question, "across"),
        ),
        "/own": lambda question: of_class(question).own(
            _file(question), inverted=question.get("inverted") is True
        ),
        "/recovered": lambda question: of_class(question).recovered(
            _file(question), _text(question, "hidden"), seed=_seed(question)
        ),
    }


def _stranger(request):
    """Why a request does not come from the page itself; None if it does.

    A name that somebody lets point to 127.0.0.1 would make their page and this one the
    same place to a browser, but for the `Host` that it names. Pages of others may send
    a POST, but for the `Origin` that a browser then adds.
    """
    host = request.headers.get("Host", "")
    if host.partition(":")[0] not in NAMES:
        return f"This page is at http://{HOST} and http://localhost alone."
    if request.method == "POST" and request.headers.get("Origin") != f"http://{host}":
        return "Only the page itself may ask this."
    return None


def _json(content, status=200):
    text = json.dumps(content, allow_nan=False)
    return Response(text, status=status, mimetype="application/json")


def _question(request):
    """The JSON object that was sent."""
    try:
        found = json.loads(request.get_data())
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise ArgumentError("A question must be an object in JSON.")
    return found


def _whole(question, name, most):
    value = question.get(name)
    if type(value) is int and 0 <= value <= most:
        return value
    raise ArgumentError(f"The {name} must be a whole number from 0 to {most}.")


def _seed(question):
    return _whole(question, "seed", 2**31 - 1)


def _part(question, name):
    value = question.get(name)
    if type(value) in (int, float) and 0 <= value <= 1 and math.isfinite(value):
        return float(value)
    raise ArgumentError(f"How far {name} must be a number from 0 to 1.")


def _text(question, name):
    value = question.get(name)
    if isinstance(value, str):
        return value
    raise ArgumentError(f"What is {name} must be a text.")


def _file(question):
    """The bytes of an image file, which come in base64, as browsers give them."""
    _, _, text = _text(question, "image").partition(",")
    try:
        return base64.b64decode(text, validate=True)
    except ValueError as error:
        raise ArgumentError("The image must be a data URL in base64.") from error
