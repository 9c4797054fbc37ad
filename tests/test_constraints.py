from importlib.metadata import distributions

import pytest
from packaging.specifiers import SpecifierSet


# Debian 12 has 3.11.2, and a pin that needs 3.11.5 stops `make setup` there.
@pytest.mark.parametrize("python", ["3.11.0", "3.12.0"])
def test_pinned_packages_install_on_the_first_release_of_each_python(python):
    refusing = [
        f"{package.name} {package.version}"
        for package in distributions()
        if python not in SpecifierSet(package.metadata.get("Requires-Python", ""))
    ]
    assert not refusing
