"""The package, its metadata and its native module are of one build."""

from importlib.metadata import PackageNotFoundError, version

import isthmus
import pytest
from isthmus import _core


def test_native_module_and_package_have_one_version() -> None:
    assert isthmus.__version__ == _core.__version__


def test_installed_metadata_has_the_native_module_s_version() -> None:
    try:
        installed = version("isthmus")
    except PackageNotFoundError:
        pytest.skip("isthmus runs from the source tree, not from an installation")
    assert installed == _core.__version__
