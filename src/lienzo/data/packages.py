"""The packages that corpus and lexicon are made from, with versions and hashes, and how they are found or fetched."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lienzo.core.errors import BadInput

FETCH_SECONDS = 900


class PackageMissing(BadInput):
    """A package is neither in the folder given nor to be had from its registry."""


@dataclass(frozen=True, slots=True)
class Package:
    """A pinned package of npm or Debian; `sha256` is of the file as the registry serves it."""

    client: str
    name: str
    version: str
    sha256: str

    @property
    def file_name(self) -> str:
        """The name under which the ordinary client saves the package."""
        if self.client == "npm":
            return f"{self.name.lstrip('@').replace('/', '-')}-{self.version}.tgz"
        return f"{self.name}_{self.version.replace(':', '%3a')}_all.deb"


def _npm(name: str, version: str, sha256: str) -> Package:
    return Package("npm", name, version, sha256)


def _deb(name: str, version: str, sha256: str) -> Package:
    return Package("apt-get", name, version, sha256)


# fmt: off
PACKAGES: dict[str, Package] = {
    "noto": _npm("@iconify-json/noto", "1.2.9", "3e918d88fc945c0bb3d468dbace6f88caef67f01c9f0e7bcae0915a042e8f1ad"),
    "noto-v1": _npm("@iconify-json/noto-v1", "1.2.5", "2bf62c26c2c2884aa99e90aec942cdaee17a5921f05690694f4978ad4b017c37"),  # noqa: E501
    "fluent-emoji": _npm("@iconify-json/fluent-emoji", "1.2.7", "8044210dbf11e016d4de85f15d01a243423bd832457e7e2491df1b751c0e272b"),  # noqa: E501
    "fluent-emoji-flat": _npm("@iconify-json/fluent-emoji-flat", "1.2.6", "7d064769dee690815f823bc5bcc511d957198caf9f5edd8dd9c1aa48a6aeb175"),  # noqa: E501
    "twemoji": _npm("@iconify-json/twemoji", "1.2.5", "19046dff7d8707ce96212ec86468b36ac5f8e60409629dd13f809265c6d0ebb7"),  # noqa: E501
    "emojione": _npm("@iconify-json/emojione", "1.2.3", "26a14f44284407e8bcde91799388dca2bfd91dbcd55a97f425524a1c5b73610e"),  # noqa: E501
    "fxemoji": _npm("@iconify-json/fxemoji", "1.2.2", "f3e72b3c59d05e1db03b7e308d55c0d05bd7ba3f625a90da1b79313c12858eef"),  # noqa: E501
    "openmoji": _npm("@iconify-json/openmoji", "1.2.29", "03181e2c156cab35cf4a62f1f7886bd971d59212e75ac3f189d5a4cae3930fc5"),  # noqa: E501
    "openmoji-tags": _npm("openmoji", "17.0.0", "55ee7d13485dec86e9f38c1f3a645a13382d33ff97c0cd845ee824b0aef45e68"),
    "emojibase": _npm("emojibase-data", "17.0.0", "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a"),
    "icon-park": _npm("@iconify-json/icon-park", "1.2.4", "c1a25212a31602aca93c3fa6f6b3288e89b9d7811afc132dfd78506e9d586b6f"),  # noqa: E501
    "game-icons": _npm("@iconify-json/game-icons", "1.2.4", "f5758efb34d91c4f50b941f355f16ee73938625e5996fabc25171288404460a4"),  # noqa: E501
    "openclipart": _deb("openclipart-svg", "1:0.18+dfsg-19", "989712d90d57dfa3230049f553bb43b76c30ee4d4b8c5f6e106e33f7db5cbdc5"),  # noqa: E501
    "tuxpaint": _deb("tuxpaint-stamps-default", "2022.06.04-1", "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34"),  # noqa: E501
    "wesnoth": _deb("wesnoth-1.16-data", "1:1.16.9-1", "1012b964bd412a6770685e3324ae3b61e176caff7846192d1ee63d55cd621e26"),  # noqa: E501
    "gcompris": _deb("gcompris-qt-data", "3.1-2", "e9cf06ab2105529068df73085784e835d2ff03f870d2a8091f09125d40abac9f"),
    "cldr-annotations": _npm("cldr-annotations-full", "48.2.0", "28576e51225deb51e3ddd734b0f824a0079682cb5d8c27faa9f68149317a14d1"),  # noqa: E501
    "cldr-derived": _npm("cldr-annotations-derived-full", "48.2.0", "4be946ff5815f806ec78b50363d577a769f2fbfb90c6380a44e161a92436996e"),  # noqa: E501
    "wamerican-small": _deb("wamerican-small", "2020.12.07-2", "bfebd3ce5f04a62f5fbeb6707ea1160e37d645754145138343009209f0deadb6"),  # noqa: E501
}
# fmt: on


def file_hash(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def locate(package: Package, folder: Path, fetch: bool = True) -> Path:
    """The package's file in `folder`, fetched into it when it is not there and `fetch` allows.

    Raises:
        PackageMissing: it is not there and cannot be fetched.
        BadInput: the file is there and is not the one that was pinned.
    """
    path = folder / package.file_name
    if not path.is_file():
        if not fetch:
            raise PackageMissing(f"{package.file_name} is not in {folder}.")
        _fetch(package, folder)
    found = file_hash(path)
    if found != package.sha256:
        raise BadInput(
            f"{path} is not the {package.name} {package.version} that Lienzo knows: its SHA-256 begins with "
            f"{found[:12]}, not {package.sha256[:12]}. Delete it and build again."
        )
    return path


def _fetch(package: Package, folder: Path) -> None:
    """Let the ordinary client download into a folder of its own, then move the file into place."""
    if shutil.which(package.client) is None:
        raise PackageMissing(f"{package.name} cannot be fetched: the program {package.client} is not installed.")
    work = folder / f".fetch-{package.file_name}"
    work.mkdir(parents=True, exist_ok=True)
    if package.client == "npm":
        command = ["npm", "pack", "--silent", f"{package.name}@{package.version}"]
    else:
        command = ["apt-get", "download", "-qq", f"{package.name}={package.version}"]
    try:
        done = subprocess.run(command, cwd=work, capture_output=True, timeout=FETCH_SECONDS, check=False)
        if done.returncode or not (work / package.file_name).is_file():
            raise PackageMissing(f"{package.name} {package.version} is not to be had from {package.client}.")
        (work / package.file_name).replace(folder / package.file_name)
    except subprocess.TimeoutExpired as error:
        raise PackageMissing(f"{package.name} did not arrive within {FETCH_SECONDS} s.") from error
    finally:
        shutil.rmtree(work, ignore_errors=True)
