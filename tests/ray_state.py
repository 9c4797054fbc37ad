"""What a Ray cluster shows to everyone who may look at it: its state API and its dashboard's pages."""

from pathlib import Path

import httpx

LISTS = ("actors", "jobs", "nodes", "placement-groups", "runtime-envs", "tasks", "workers")
PAGES = ("api/jobs/", "api/serve/applications/", "logical/actors", "nodes?view=summary")


def shown_by_ray(project) -> dict[str, str]:
    """Return what each list and page of the project's own Ray head shows."""
    dashboard = f"http://127.0.0.1:{project.variables['LIA_RAY_DASHBOARD_PORT']}"
    token = project.root / "runs/ray/auth_token"
    variables = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token)}
    asked = type(project)(project.root, project.variables | variables)
    shown = {
        name: asked.run(
            "ray", "list", name, "--detail", "--format", "json", "--limit", "9999", "--address", dashboard
        ).stdout
        for name in LISTS
    }
    headers = {"Authorization": f"Bearer {token.read_text().strip()}"}
    with httpx.Client(base_url=dashboard, trust_env=False, timeout=60, headers=headers) as client:
        for page in PAGES:
            answer = client.get(f"/{page}")
            assert answer.status_code == 200, (page, answer.text)
            shown[page] = answer.text
    return shown


def files_with(secrets: list[str], *folders: Path) -> list[Path]:
    """Return the files below the folders in which one of the secrets stands."""
    wanted = [secret.encode() for secret in secrets]
    found = []
    for folder in folders:
        for path in folder.rglob("*"):
            if path.is_file() and not path.is_symlink():
                content = path.read_bytes()
                found += [path for secret in wanted if secret in content]
    return found
