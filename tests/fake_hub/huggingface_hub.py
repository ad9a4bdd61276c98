"""A stand-in for the Hugging Face hub's client: the hub is a folder, $FAKE_HUB.

It has what Keras 3.15 (`keras/src/saving/saving_lib.py`) and `commands.cards` call,
with the names of huggingface_hub 2.4, and nothing else: no network, no account, no
history. Like the hub it keeps files only, so that an empty folder gets lost, and it
refuses a card whose front matter it cannot read.
"""

import os
import re
import shutil
from pathlib import Path


class RepoUrl(str):
    repo_id = ""


def _folder(repo_id):
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repo_id):
        raise ValueError(f"Repo id must be 'namespace/repo_name': {repo_id!r}.")
    return Path(os.environ["FAKE_HUB"]) / repo_id


class HfApi:
    def __init__(self, *, library_name=None, library_version=None):
        pass

    def create_repo(self, repo_id, *, exist_ok=False):
        _folder(repo_id).mkdir(parents=True, exist_ok=exist_ok)
        url = RepoUrl(f"https://hub.invalid/{repo_id}")
        url.repo_id = repo_id
        return url

    def upload_folder(self, *, repo_id, folder_path, commit_message=None):
        if not _folder(repo_id).is_dir():
            raise OSError(f"404 Client Error.\n\nRepository Not Found: {repo_id}.")
        readme = (Path(folder_path) / "README.md").read_text(encoding="utf-8")
        if not re.match(r"\s*---\n(([a-z_]+: \S+|[a-z_]+:|- \S+)\n)+---\n", readme):
            raise ValueError("Invalid metadata in README.md.")
        for path in Path(folder_path).rglob("*"):
            if path.is_file():
                target = _folder(repo_id) / path.relative_to(folder_path)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)
        with (Path(os.environ["FAKE_HUB"]) / "commits.txt").open("a") as commits:
            commits.write(f"{commit_message}\n")


def snapshot_download(repo_id, *, library_name=None, library_version=None):
    """The folder of a snapshot, which the real client keeps in a cache."""
    if not _folder(repo_id).is_dir():
        raise OSError(f"404 Client Error.\n\nRepository Not Found: {repo_id}.")
    return str(_folder(repo_id))
