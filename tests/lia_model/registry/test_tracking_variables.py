import pytest

from lia_model.registry.tracking_variables import passed_on, tracking_variables


@pytest.mark.parametrize(
    ("uri", "address", "user", "password"),
    [
        ("http://ann:s3cret@host:5000/team", "http://host:5000/team", "ann", "s3cret"),
        ("https://ann:a%40b%2Fc@[::1]:5000", "https://[::1]:5000", "ann", "a@b/c"),
        ("https://ann@host", "https://host", "ann", ""),
    ],
)
def test_the_account_leaves_a_servers_address(uri, address, user, password):
    assert tracking_variables(uri) == {
        "MLFLOW_TRACKING_URI": address,
        "MLFLOW_TRACKING_USERNAME": user,
        "MLFLOW_TRACKING_PASSWORD": password,
    }


@pytest.mark.parametrize(
    "uri", ["sqlite:////a/mlflow.db?timeout=30", "http://host:5000", "postgresql://ann:s3cret@db/mlflow"]
)
def test_every_other_uri_stays_as_it_is(uri):
    assert tracking_variables(uri) == {"MLFLOW_TRACKING_URI": uri}


def test_the_account_is_passed_on_and_one_in_the_address_comes_first():
    own = {"MLFLOW_TRACKING_PASSWORD": "own", "MLFLOW_TRACKING_TOKEN": "t", "LIA_API_TOKEN": "other"}
    assert passed_on("http://host", own) == {
        "MLFLOW_TRACKING_URI": "http://host",
        "MLFLOW_TRACKING_PASSWORD": "own",
        "MLFLOW_TRACKING_TOKEN": "t",
    }
    assert passed_on("http://ann:s3cret@host", own)["MLFLOW_TRACKING_PASSWORD"] == "s3cret"
