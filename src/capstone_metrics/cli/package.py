"""The command that builds the wheel and what goes with it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import click

from capstone_metrics.cli.common import project_folder
from capstone_metrics.cli.user_errors import show_user_errors
from capstone_metrics.errors import ConfigError
from capstone_metrics.packaging import pack_configuration


@click.command()
@show_user_errors()
def package() -> None:
    """Build the wheel, the configuration and the lock into dist, for another machine."""
    os.chdir(project_folder())
    dist = Path("dist")
    for wheel in dist.glob("*.whl"):
        wheel.unlink()
    shutil.rmtree("build/lib", ignore_errors=True)  # else setuptools packs files of an older build
    # --no-isolation: the locked setuptools, not a downloaded one
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(dist)]
    build = subprocess.run(command, check=False, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if build.returncode:
        click.echo(build.stdout, err=True, nl=False)
        raise ConfigError(
            "The wheel could not be built; run 'make package', which installs the build tools."
        )
    pack_configuration(Path("conf"), dist / "conf-capstone_metrics.tar.gz")
    shutil.copyfile("requirements.lock", dist / "requirements.txt")
    for path in sorted(dist.iterdir()):
        click.echo(path)
