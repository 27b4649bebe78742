"""Hub ids: what is chosen of a repository, and how it is brought, from a hub on this machine."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from graphdiff.checkpoints import hub
from graphdiff.checkpoints.errors import CheckpointError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
PIPELINE = (
    "README.md",
    "model_index.json",
    "sd.safetensors",
    "sd-pruned.ckpt",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "text_encoder/flax_model.msgpack",
    "text_encoder/model.fp16.safetensors",
    "text_encoder/model.safetensors",
    "text_encoder/pytorch_model.bin",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    "unet/diffusion_pytorch_model.bin",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.non_ema.safetensors",
    "unet/diffusion_pytorch_model.safetensors",
    "vae/config.json",
    "vae/diffusion_pytorch_model.bin",
    "vae_decoder/model.onnx",
)
ALWAYS = {
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "tokenizer/merges.txt",
    "tokenizer/vocab.json",
    "unet/config.json",
    "vae/config.json",
    "vae/diffusion_pytorch_model.bin",  # there is nothing else: to be converted
}


def test_of_a_pipeline_one_form_of_each_weight_is_chosen_and_nothing_else() -> None:
    assert set(hub.choose_files(PIPELINE)) == ALWAYS | {
        "text_encoder/model.safetensors",
        "unet/diffusion_pytorch_model.safetensors",
    }


def test_a_variant_is_taken_where_there_is_one() -> None:
    assert set(hub.choose_files(PIPELINE, variant="fp16")) == ALWAYS | {
        "text_encoder/model.fp16.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
    }


def test_a_subfolder_is_taken_alone() -> None:
    assert hub.choose_files(PIPELINE, subfolder="unet") == (
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
    )


def test_shards_come_with_their_own_index_only() -> None:
    stem = "diffusion_pytorch_model"
    shards = [f"{stem}-0000{i}-of-00002.safetensors" for i in (1, 2)]
    halves = [f"{stem}.fp16-0000{i}-of-00002.safetensors" for i in (1, 2)]
    plain, half = f"{stem}.safetensors.index.json", f"{stem}.safetensors.index.fp16.json"
    files = ["config.json", *shards, *halves, plain, half]
    assert set(hub.choose_files(files)) == {"config.json", *shards, plain}
    assert set(hub.choose_files(files, variant="fp16")) == {"config.json", *halves, half}


def test_a_lone_lora_or_single_file_is_chosen() -> None:
    files = ("README.md", "image.png", "pytorch_lora_weights.safetensors")
    assert hub.choose_files(files) == ("pytorch_lora_weights.safetensors",)


@pytest.mark.parametrize(
    ("variables", "folder"),
    [
        ({"HF_HUB_CACHE": "/a", "HF_HOME": "/b"}, "/a"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
    ],
)
def test_the_cache_lies_where_the_hubs_variables_say(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert hub.cache_folder() == Path(folder)


@pytest.mark.parametrize("name", ["../up", "a/b/../c", "", "a b", "https://x.org/a"])
def test_what_is_no_id_is_not_looked_up(name: str) -> None:
    assert hub.find_local(name) is None


class FakeHub(BaseHTTPRequestHandler):
    """As much of a hub as fetching a model needs."""

    files: ClassVar[dict[str, bytes]] = {}
    asked: ClassVar[list[str]] = []

    def do_HEAD(self) -> None:
        self.answer(body=False)

    def do_GET(self) -> None:
        self.answer(body=True)

    def answer(self, *, body: bool) -> None:
        path = self.path.split("?")[0]
        if path.startswith(("/api/models/me/gated", "/me/gated")):
            return self.reply(401, b"{}", {"X-Error-Code": "GatedRepo"})
        if path.startswith("/api/models/me/tiny/tree"):
            return self.reply(200, json.dumps(self.tree()).encode(), {}, body=body)
        if path.startswith("/api/models/me/tiny"):
            if "revision/nowhere" in path:
                return self.reply(404, b"{}", {"X-Error-Code": "RevisionNotFound"})
            siblings = [{"rfilename": name} for name in self.files]
            data = {"id": "me/tiny", "sha": COMMIT, "siblings": siblings}
            return self.reply(200, json.dumps(data).encode(), {}, body=body)
        prefix = f"/me/tiny/resolve/{COMMIT}/"
        if path.startswith(prefix) and path.removeprefix(prefix) in self.files:
            name = path.removeprefix(prefix)
            content = self.files[name]
            if body:
                self.asked.append(name)
            headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": COMMIT}
            return self.reply(200, content, headers, body=body)
        return self.reply(404, b"{}", {"X-Error-Code": "RepoNotFound"})

    def tree(self) -> list[dict[str, Any]]:
        return [
            {"type": "file", "path": name, "size": len(content), "oid": "0" * 40}
            for name, content in self.files.items()
        ]

    def reply(
        self, status: int, content: bytes, headers: dict[str, str], *, body: bool = True
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if body:
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[type[FakeHub]]:
    import huggingface_hub
    from huggingface_hub import constants

    running = ThreadingHTTPServer(("127.0.0.1", 0), FakeHub)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{running.server_address[1]}"
    monkeypatch.setattr(constants, "ENDPOINT", url)
    monkeypatch.setattr(
        constants, "HUGGINGFACE_CO_URL_TEMPLATE", url + "/{repo_id}/resolve/{revision}/{filename}"
    )
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    FakeHub.asked = []
    FakeHub.files = {name: f"content of {name}".encode() for name in PIPELINE}
    assert huggingface_hub.__version__
    yield FakeHub
    running.shutdown()
    running.server_close()


def test_only_what_is_needed_is_fetched_and_then_found_without_the_network(
    server: type[FakeHub],
) -> None:
    assert hub.find_local("me/tiny") is None
    folder = hub.download("me/tiny", subfolder="unet", token=False)
    assert sorted(server.asked) == ["unet/config.json", "unet/diffusion_pytorch_model.safetensors"]
    assert hub.find_local("me/tiny") == folder
    assert hub.local_ids() == ("me/tiny",)
    config = folder / "unet" / "config.json"
    assert config.read_text() == "content of unet/config.json"
    assert hub.download("me/tiny", subfolder="unet", token=False) == folder
    assert len(server.asked) == 2, "what is there is fetched again"
    assert hub.download("me/tiny", local_files_only=True) == folder


def test_a_file_behind_an_id_is_fetched_alone(server: type[FakeHub]) -> None:
    folder = hub.download("me/tiny/sd.safetensors", token=False)
    assert server.asked == ["sd.safetensors"]
    assert (folder / "sd.safetensors").is_file()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("me/gated", {}, "gated: accept its licence"),
        ("me/absent", {}, "no model 'me/absent', or it is private"),
        ("me/tiny", {"revision": "nowhere"}, "no revision 'nowhere'"),
        ("me/tiny", {"subfolder": "missing"}, "holds no model in its folder 'missing'"),
        ("me/absent", {"local_files_only": True}, "graphdiff models pull me/absent"),
        ("no id at all", {}, "is no hub id"),
    ],
)
def test_what_cannot_be_fetched_says_why_and_what_to_do(
    name: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(CheckpointError, match=words):
        hub.download(name, token=False, **options)


def test_a_hub_that_does_not_answer_is_told_from_one_that_says_no(
    server: type[FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    with pytest.raises(CheckpointError, match="the hub does not answer"):
        hub.download("me/tiny", token=False)
    assert server.asked == []


def test_what_was_fetched_before_serves_when_the_hub_cannot_be_reached(
    server: type[FakeHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    folder = hub.download("me/tiny", subfolder="unet", token=False)
    assert server.asked
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert hub.download("me/tiny", subfolder="unet", token=False) == folder


@pytest.mark.parametrize(
    ("name", "is_id"),
    [
        ("stable-diffusion-v1-5/stable-diffusion-v1-5", True),
        ("gpt2", True),
        ("./save", False),
        ("../save", False),
        (".save", False),
        ("style.safetensors", False),
        ("organisation/model/unet", False),
    ],
)
def test_paths_and_files_are_no_hub_ids(name: str, is_id: bool) -> None:
    assert hub.is_hub_id(name) is is_id
