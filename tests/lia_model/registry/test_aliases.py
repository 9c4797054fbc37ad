from lia_model.registry import aliases


def test_an_alias_points_at_its_version(version):
    assert aliases.version_of("lia-test", aliases.CHAMPION) == version


def test_an_alias_moves(version):
    assert aliases.version_of("lia-test", aliases.CHALLENGER) is None
    aliases.set_alias("lia-test", aliases.CHALLENGER, version)
    assert aliases.version_of("lia-test", aliases.CHALLENGER) == version


def test_an_unknown_model_has_no_version(store):
    assert aliases.version_of("nobody", aliases.CHAMPION) is None
