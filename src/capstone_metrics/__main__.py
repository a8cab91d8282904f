"""`python -m capstone_metrics`: the command line without the Kedro command."""

from pathlib import Path

from kedro.framework.cli.utils import find_run_command
from kedro.framework.project import configure_project


def main() -> None:
    """Run the pipelines of the installed package on the configuration in `conf`."""
    package = Path(__file__).parent.name
    configure_project(package)
    find_run_command(package)(standalone_mode=True)


if __name__ == "__main__":
    main()
