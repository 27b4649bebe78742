"""Effects cannot leave the output folder, and lose nothing that is in it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from graphdiff.engine.outputs import OutputFolder, safe_component
from graphdiff.graph.node import Outputs


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "outputs"


@pytest.fixture
def outputs(root: Path) -> OutputFolder:
    return OutputFolder(root, {"inputs": {"seed": 1}})


def test_an_output_folder_is_what_effects_ask_for(outputs: OutputFolder) -> None:
    asked: Outputs = outputs
    assert asked.provenance() == {"inputs": {"seed": 1}}


def test_a_file_is_written_under_the_folder_and_remembered(
    outputs: OutputFolder, root: Path
) -> None:
    path = outputs.write("a/b/red apple.png", b"pixels")
    assert path == root / "a" / "b" / "red apple.png"
    assert path.read_bytes() == b"pixels"
    (written,) = outputs.written
    assert written["path"] == "a/b/red apple.png"
    assert len(written["sha256"]) == 64
    assert list(root.rglob("*.part")) == []


def test_other_content_gets_a_number(outputs: OutputFolder) -> None:
    names = [outputs.write("x.tar.png", data).name for data in (b"1", b"2", b"3", b"2", b"1")]
    assert names == ["x.tar.png", "x.tar-2.png", "x.tar-3.png", "x.tar-2.png", "x.tar.png"]
    assert [w["path"] for w in outputs.written] == names


def test_the_same_bytes_are_left_as_they_are(outputs: OutputFolder) -> None:
    path = outputs.write("x.png", b"1")
    os.utime(path, (1, 1))
    outputs.write("x.png", b"1")
    outputs.write("x.png", b"1", overwrite=True)
    assert path.stat().st_mtime == 1
    assert outputs.write("x.png", b"2", overwrite=True) == path
    assert path.read_bytes() == b"2"


@pytest.mark.parametrize(
    "path",
    [
        "../x.png",
        "a/../../x.png",
        "a/..",
        "..",
        "/etc/x.png",
        "//host/x.png",
        "C:/x.png",
        "c:x.png",
        "a\\b.png",
        "..\\x.png",
        "\\\\host\\x.png",
        "",
        " ",
        ".",
        "a/",
        "con.png",
        "a/NUL",
        "aux.tar.gz",
        "LPT1.png",
        "a\0b.png",
        "a\nb.png",
    ],
)
def test_a_path_that_is_not_under_the_folder_is_refused(
    outputs: OutputFolder, root: Path, path: str
) -> None:
    with pytest.raises(ValueError, match=r"path|folder|device|file name"):
        outputs.write(path, b"x")
    assert not root.exists() or list(root.rglob("*")) == []
    assert list(root.parent.iterdir()) in ([], [root])


@pytest.mark.skipif(os.name == "nt", reason="links need rights there")
def test_links_do_not_lead_out(outputs: OutputFolder, root: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    root.mkdir()
    (outside / "kept.png").write_bytes(b"kept")
    (root / "out").symlink_to(outside)
    (root / "link.png").symlink_to(outside / "kept.png")
    (root / "nowhere.png").symlink_to(outside / "new.png")
    (root / "in").symlink_to(root)
    for path in ("out/x.png", "out/new/x.png"):
        with pytest.raises(ValueError, match="by a link"):
            outputs.write(path, b"x")
    assert outputs.write("link.png", b"kept").name == "link-2.png"
    assert outputs.write("nowhere.png", b"x").name == "nowhere-2.png"
    assert outputs.write("link.png", b"new", overwrite=True).read_bytes() == b"new"
    assert outputs.write("in/x.png", b"x").read_bytes() == b"x"
    assert [path.name for path in outside.iterdir()] == ["kept.png"]
    assert (outside / "kept.png").read_bytes() == b"kept"


def test_an_output_folder_that_is_a_link_itself_is_fine(root: Path, tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    root.symlink_to(tmp_path / "real")
    assert OutputFolder(root).write("x.png", b"x") == root / "x.png"
    assert (tmp_path / "real" / "x.png").exists()


def test_a_folder_of_that_name_gets_the_file_a_number(outputs: OutputFolder, root: Path) -> None:
    (root / "x.png").mkdir(parents=True)
    assert outputs.write("x.png", b"x").name == "x-2.png"


def test_a_file_where_a_folder_is_wanted_is_an_error(outputs: OutputFolder) -> None:
    outputs.write("x", b"x")
    with pytest.raises(OSError, match="x"):
        outputs.write("x/y.png", b"y")


def test_a_name_that_is_too_long_is_cut_and_keeps_its_suffix(outputs: OutputFolder) -> None:
    first = outputs.write("é" * 300 + "1.png", b"1")
    second = outputs.write("é" * 300 + "2.png", b"2")
    assert first != second
    for path in (first, second):
        assert path.suffix == ".png"
        assert len(path.name.encode()) <= 200


def test_a_done_record_holds_while_its_files_are_as_they_were(
    outputs: OutputFolder, root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GRAPHDIFF_CACHE", str(tmp_path / "cache"))
    outputs.write("a/x.png", b"1")
    path = outputs.write("y.png", b"2")
    record = outputs.written
    assert OutputFolder(root).holds(record)
    assert not OutputFolder(tmp_path / "elsewhere").holds(record)
    assert not OutputFolder(root).holds([{"path": "../x", "sha256": ""}])
    path.write_bytes(b"3")
    assert not OutputFolder(root).holds(record)
    path.unlink()
    assert not OutputFolder(root).holds(record)
    assert OutputFolder(root).holds(record[:1])


def test_files_get_the_rights_that_other_new_files_get(outputs: OutputFolder, root: Path) -> None:
    path = outputs.write("x.png", b"1")
    (root / "plain").write_bytes(b"")
    assert path.stat().st_mode == (root / "plain").stat().st_mode


def test_threads_that_write_one_name_keep_each_others_files(root: Path) -> None:
    def work(number: int) -> None:
        for turn in range(10):
            OutputFolder(root).write("x.png", f"{number} {turn}".encode())

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({path.read_bytes() for path in root.iterdir()}) == 40
    assert len(list(root.iterdir())) == 40


def test_a_file_system_without_links_will_do(
    outputs: OutputFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert [outputs.write("x.png", data).name for data in (b"1", b"2")] == ["x.png", "x-2.png"]


def test_a_failed_write_leaves_nothing(
    outputs: OutputFolder, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match="No space"):
        outputs.write("x.png", b"1")
    assert list(root.iterdir()) == []
    assert outputs.written == ()


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL")
def test_a_process_killed_while_writing_leaves_no_half_file(root: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from graphdiff.engine.outputs import OutputFolder\n"
        "outputs = OutputFolder(Path(sys.argv[1]))\n"
        "print('ready', flush=True)\n"
        "for number in range(100_000): outputs.write(f'{number}.png', bytes([7]) * 300_000)\n"
    )
    command = [sys.executable, "-c", program, str(root)]
    for _ in range(5):
        process = subprocess.Popen(command, cwd=Path(__file__).parents[2], stdout=subprocess.PIPE)
        with process:
            assert process.stdout is not None
            process.stdout.readline()
            process.stdout.read(0)
            try:
                process.wait(0.02)
            except subprocess.TimeoutExpired:
                process.kill()
        pictures = list(root.glob("*.png"))
        assert {path.read_bytes() for path in pictures} <= {bytes([7]) * 300_000}
    assert pictures


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("a red apple", "a red apple"),
        ("七つの星 ⭐, größer!", "七つの星 ⭐, größer!"),
        ("👩‍🚀", "👩‍🚀"),
        ("a/b\\c:d", "a_b_c_d"),
        ("..", "_"),
        (".", "_"),
        ("", "_"),
        ("  ", "_"),
        ("../../etc/passwd", "_.._etc_passwd"),
        (".hidden", "hidden"),
        ("ends. ", "ends"),
        ("two\n lines\tand  gaps", "two lines and gaps"),
        ("bell\x07\x00", "bell__"),
        ("right\u202eto left", "right_to left"),
        ("CON", "_CON"),
        ("nul.txt", "_nul.txt"),
        ("console", "console"),
        ("7.5", "7.5"),
        ("-3", "-3"),
        ("e\u0301", "é"),
        ("half \ud83d pair", "half _ pair"),
    ],
)
def test_text_becomes_one_name(text: str, name: str) -> None:
    assert safe_component(text) == name


def test_long_text_is_cut_and_told_apart() -> None:
    first, second = safe_component("ü" * 500 + "a"), safe_component("ü" * 500 + "b")
    assert first != second
    assert first[:50] == second[:50] == "ü" * 50
    assert len(first.encode()) <= 120


def test_what_stands_beside_long_text_in_a_name_is_kept(outputs: OutputFolder) -> None:
    name = outputs.write(f"{safe_component('word ' * 100)}-1234567.png", b"1").name
    assert name.endswith("-1234567.png")


@given(st.text(st.characters(), max_size=300))
def test_any_text_becomes_a_name_that_any_file_system_takes(text: str) -> None:
    name = safe_component(text)
    assert name
    assert len(name.encode()) <= 120
    assert not set(name) & set('/\\:*?"<>|\0\n')
    assert name.strip(" .") == name
    assert safe_component(name) == name


@given(st.text(st.characters(), max_size=40))
def test_any_text_can_be_put_into_a_path(
    tmp_path_factory: pytest.TempPathFactory, text: str
) -> None:
    root = tmp_path_factory.mktemp("outputs") / "o"
    path = OutputFolder(root).write(f"{safe_component(text)}/x-{safe_component(text)}.png", b"1")
    assert path.resolve().is_relative_to(root.resolve())
    assert path.parent.parent == root
