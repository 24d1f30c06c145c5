"""What tells a server who asks: user and password in an address, a token of the Hugging Face Hub."""

import base64
import os
from pathlib import Path
from urllib.parse import unquote, urlsplit


def hub() -> str:
    """Return the address of the Hugging Face Hub, or of what ``HF_ENDPOINT`` names in its place."""
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def token() -> str:
    """Return the token that the Hub's own client takes: ``HF_TOKEN``, or the file of `hf auth login`."""
    if given := os.environ.get("HF_TOKEN", "").strip():
        return given
    home = os.environ.get("HF_HOME") or f"{os.environ.get('XDG_CACHE_HOME') or '~/.cache'}/huggingface"
    try:
        file = Path(os.environ.get("HF_TOKEN_PATH") or f"{home}/token").expanduser()
        return file.read_text(encoding="utf-8").strip()
    except (OSError, RuntimeError):
        return ""


def separated(url: str) -> tuple[str, str]:
    """Return an address without user and password, and the header ``Authorization`` that goes with it.

    The token goes to the Hub alone; the header is empty where nobody says who asks.
    """
    parts = urlsplit(url)
    given, _, host = parts.netloc.rpartition("@")
    bare = parts._replace(netloc=host).geturl()
    if given:
        return bare, f"Basic {base64.b64encode(unquote(given).encode()).decode()}"
    known = token() if bare.startswith(f"{hub()}/") else ""
    return bare, f"Bearer {known}" if known else ""
